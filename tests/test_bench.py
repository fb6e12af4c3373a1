"""Benches: what is timed, in which order, and that both sides of a comparison do the same work."""

import json
from types import SimpleNamespace

import pytest
import torch

from fer_core import bench, bench_adapting, bench_data, bench_faces, bench_training, cli, hardware
from fer_core.clip import load as load_clip
from fer_core.data.files import ClipFiles, ImageFiles
from fer_core.data.sampling import Sampling
from fer_core.errors import UserError

SMALL = bench_data.Options(repeats=1, batch_size=8, size=32, per_class=4, length=4, frames=2)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a call adds to it."""
    now = [0.0]
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_ratios_are_medians_over_pairs_that_alternate(clock):
    calls, seconds = [], {"ours": iter([9, 1, 2, 4]), "plain": iter([9, 3, 4, 20])}

    def way(name):
        def run():
            calls.append(name)
            clock[0] += next(seconds[name])

        return run

    row = bench.compare("work", "things", 12, way("ours"), way("plain"), repeats=3)
    # The first pair warms up; ratios of the others are 3, 2 and 5.
    assert (row["ratio"], row["lowest"], row["highest"]) == (3, 2, 5)
    assert (row["ours"], row["plain"], row["unit"]) == (6, 3, "things/s")
    assert calls == ["plain", "ours", "ours", "plain"] * 2


def test_a_bench_is_listed_run_and_printed(capsys, monkeypatch):
    rows = [{"what": "stills", "ours": 2.0, "ratio": 1.2345}, {"what": "clips", "ours": 1234.4, "ratio": 1.0}]
    monkeypatch.setattr(bench_data, "measure", lambda options: rows if options.repeats == 3 else [])
    assert cli.main(["bench", "--json"]) == 0
    assert "data" in {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert cli.main(["bench", "data", "--set", "repeats=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:6] == [
        "| what | ours | ratio |",
        "|---|---|---|",
        "| stills | 2.00 | 1.23 |",
        "| clips | 1,234 | 1.00 |",
    ]
    assert "repeats 3" in lines[-1]
    assert cli.main(["bench", "data", "--set", "repeats=3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == rows
    assert told["options"]["size"] == 224
    assert set(told) == {"name", "title", "rows", "options", "hardware", "versions"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dta"], "unknown bench 'dta'; did you mean 'data'?"),
        (["data", "--set", "repeat=3"], "unknown setting of bench data 'repeat'; did you mean 'repeats'?"),
        (["data", "--set", "repeats=0"], "repeats: expected at least 1, got 0"),
        (["faces", "--set", "batch=0"], "batch and repeats: expected at least 1, got 0 and 5; choose positive numbers"),
        (["training", "--set", "device=gpu"], "device: expected one that this machine has, got 'gpu'"),
        (["adapting", "--set", "device=gpu"], "device: expected one that this machine has, got 'gpu'"),
        (["training", "--set", "precision=fp64"], "unknown value of bench training.precision 'fp64'"),
    ],
)
def test_wrong_names_and_options_are_mistakes(arguments, message, capsys):
    assert cli.main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"fer-core: error: {message}")


def test_a_bench_finds_its_device_and_says_which(monkeypatch):
    monkeypatch.setattr(hardware, "best", lambda: torch.device("cpu"))
    monkeypatch.setattr(bench_training, "measure", lambda options: [{"what": options.device}])
    report = bench.run("training", {"device": "auto"})
    assert (report.rows[0]["what"], report.options["device"], report.hardware["device"]) == ("cpu", "cpu", "cpu")


def test_both_loaders_of_stills_give_the_same_pixels(tmp_path):
    listing = bench_data.write_stills(tmp_path / "stills", SMALL)
    plain = bench_data.plain_stills(listing.folder, False, SMALL)
    own = bench_data.ours(ImageFiles("bench", "train", listing, "rendered", SMALL.size), False, 8, SMALL)
    seen = 0
    for batch, (images, labels) in zip(own, plain, strict=True):
        torch.testing.assert_close(batch.image, images, atol=1e-5, rtol=0)
        assert torch.equal(batch.label, labels)
        seen += len(batch)
    assert seen == 28


def test_both_loaders_of_clips_give_the_same_pixels(tmp_path):
    listing = bench_data.write_clips(tmp_path / "clips", SMALL)
    plain = bench_data.plain_clips(listing, False, SMALL)
    clips = ClipFiles("bench", "train", listing, "rendered", Sampling(frames=SMALL.frames), SMALL.size)
    own = bench_data.ours(clips, False, 1, SMALL)
    for batch, (images, labels) in zip(own, plain, strict=True):
        assert batch.image.shape == (1, 2, 3, 32, 32)
        torch.testing.assert_close(batch.image, images, atol=1e-5, rtol=0)
        assert torch.equal(batch.label, labels)


def test_the_bench_of_data_measures_files_and_store_and_leaves_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    rows = bench_data.measure(SMALL)
    assert [row["what"] for row in rows] == [
        f"{what}, {how}{store}"
        for how in ("evaluation", "training")
        for store in ("", ", from the store")
        for what in ("stills", "clips")
    ]
    for row in rows:
        assert row["unit"] == ("images/s" if row["what"].startswith("stills") else "clips/s")
        assert row["lowest"] == row["ratio"] == row["highest"] == pytest.approx(row["ours"] / row["plain"])
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("setting", ["repeats", "per_class", "size", "workers"])
def test_too_small_a_bench_is_refused(setting):
    with pytest.raises(UserError, match=f"{setting}: expected at least"):
        bench_data.Options(**{setting: -1})


def test_faces_are_timed_part_by_part():
    rows = list(bench_faces.measure(bench_faces.Options(batch=4, sizes=(32,), repeats=1, compiled=False)))
    assert all(set(row) == {"what", "value", "unit"} for row in rows)
    shares = [row["value"] for row in rows if row["what"].startswith("part: ")]
    assert {"part: mouth", "part: mouth folds", "part: the rest"} <= {row["what"] for row in rows}
    assert sum(shares) == pytest.approx(100)


def test_the_cost_of_a_pixel_is_the_slope():
    found = bench_faces.pixel_cost({side: 2.0 + 3e-3 * side**2 for side in (32, 64, 128)})
    assert found == pytest.approx({"nanoseconds": 3000.0, "milliseconds": 2.0, "r2": 1.0})


@pytest.fixture(scope="module")
def training_rows(narrow_vit):
    options = bench_training.Options(
        backbone=narrow_vit, batch_size=4, clips=2, frames=3, video_clips=2, video_frames=3, repeats=1
    )
    return {row["what"]: row for row in bench_training.measure(options)}


def test_both_sides_of_a_training_step_give_equal_gradients(training_rows):
    assert list(training_rows) == [
        "linear-probe", "linear-probe, cached features", "coop", "coop, cached features", "maple",
        "maple, texts alone", "full-fine-tuning", "mpa-fer", "clip-au", "clip-au, cached features", "fine-cliper",
        "fine-cliper, blocks recomputed", "fine-cliper's frames, beside full fine-tuning",
    ]  # fmt: skip
    for what, row in training_rows.items():
        if "beside" in what:  # another method's numbers are none of this one's
            assert row["difference"] is None
        else:
            assert row["difference"] <= bench_training.TOLERANCE


def test_operations_and_memory_are_counted_not_guessed(training_rows, narrow_vit):
    tower = load_clip(narrow_vit)
    # A linear layer on cached features: forward and the weights' gradient are one product each.
    cached = training_rows["linear-probe, cached features"]
    assert cached["GFLOP"] == pytest.approx(2 * 2 * 4 * tower.embed_dim * 8 / 1e9)
    assert training_rows["coop"]["GFLOP"] > training_rows["coop, cached features"]["GFLOP"]
    assert training_rows["coop"]["GFLOP ratio"] > 1
    # Of the six blocks' twelve products of a token's width, the last one's patches need two.
    patches = tower.patch_grid[0] * tower.patch_grid[1]
    spared = 10 * patches / (6 * 12 * (patches + 1))
    assert training_rows["full-fine-tuning"]["GFLOP ratio"] == pytest.approx(1 / (1 - spared), abs=0.02)
    assert training_rows["coop"]["plain MiB"] > training_rows["coop"]["MiB"] > 0
    assert training_rows["maple, texts alone"]["GFLOP ratio"] > training_rows["maple"]["GFLOP ratio"] > 1
    assert training_rows["clip-au, cached features"]["GFLOP ratio"] > training_rows["clip-au"]["GFLOP ratio"] > 1
    assert training_rows["mpa-fer"]["GFLOP ratio"] > 1
    whole, again = training_rows["fine-cliper"], training_rows["fine-cliper, blocks recomputed"]
    assert whole["MiB"] > 5 * again["MiB"]
    assert 1.2 < again["GFLOP"] / whole["GFLOP"] < 1.5  # a third forward pass beside a backward one of two


def test_adaptation_says_the_same_as_its_plain_form_for_less(narrow_vit):
    options = bench_adapting.Options(
        backbone=narrow_vit, videos=2, frames=5, window=3, views=4, view_frames=4, steps=4, passes=3, repeats=1
    )
    rows = {row["what"]: row for row in bench_adapting.measure(options)}
    assert list(rows) == ["clip-autt, a pass on cached features", "clip-autt, 3 passes", "tpt, 4 steps"]
    assert rows["clip-autt, a pass on cached features"]["difference"] <= bench_adapting.TOLERANCE
    assert all(row["difference"] <= bench_adapting.TOLERANCE_OF_SEVERAL for row in rows.values())
    assert all(row["GFLOP ratio"] > 1 for row in rows.values())
    with pytest.raises(UserError, match="views: expected at least 2"):
        bench_adapting.Options(views=1)


def test_a_plain_form_that_differs_is_refused(monkeypatch):
    wrong = bench_training._linear_probe

    def other(tower, options):
        case = wrong(tower, options)
        case.plain.scale *= 1.01
        return case

    monkeypatch.setitem(bench_training.CASES, "linear-probe", other)
    options = bench_training.Options(backbone="embedded:random", batch_size=4, repeats=1, methods="linear-probe")
    with pytest.raises(AssertionError, match="linear-probe: expected equal gradients"):
        list(bench_training.measure(options))
