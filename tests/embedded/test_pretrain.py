import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch

from fer_core import clip
from fer_core.embedded import dense, pool, pretrain
from fer_core.engine import checkpoints
from fer_core.errors import UserError
from fer_core.faces import CODES, PARSING, sets


@pytest.fixture
def small(monkeypatch):
    """Shards of a few faces."""
    monkeypatch.setattr(pool, "SHARD", 32)
    monkeypatch.setattr(pretrain, "SHARD", 32)


def test_pool_is_aligned_and_kept(small, tmp_path):
    faces = pool.pool(0, 2, 64, tmp_path)
    assert faces.image.shape == (64, 3, 64, 64)
    assert faces.units.shape == (64, len(CODES))
    assert faces.regions.shape == (64, 64, len(PARSING))
    # Shares of a patch sum to one, up to rounding of each class.
    assert (faces.regions.float().sum(-1) - 255).abs().max() <= len(PARSING)
    assert len(faces.people) == len(faces.scenes) == 64
    kept = sorted((tmp_path / "pool").iterdir())
    stamps = [path.stat().st_mtime_ns for path in kept]
    again = pool.pool(0, 2, 64, tmp_path)
    assert torch.equal(faces.image, again.image)
    assert [path.stat().st_mtime_ns for path in kept] == stamps


def test_regions_are_shares_of_patches_row_by_row():
    parsing = torch.randint(len(PARSING), (2, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = pool._shares(parsing)
    assert (found.shape, found.dtype) == ((2, 64, len(PARSING)), torch.uint8)
    for face, seen in zip(found, parsing, strict=True):
        for patch in range(64):
            top, left = 8 * (patch // 8), 8 * (patch % 8)
            counted = torch.bincount(seen[top : top + 8, left : left + 8].flatten().long(), minlength=len(PARSING))
            torch.testing.assert_close(face[patch].float(), (255 * counted / 64).round())


def test_each_picture_is_paired_with_its_own_caption(small, tmp_path, monkeypatch):
    settings = pretrain.Pretraining(shards=1, dense_batch=32, contrastive_batch=32)
    run, faces = pretrain.Run(settings, 0, tmp_path, "cpu"), pool.pool(0, 1, 64, tmp_path)
    rows, told, seen = torch.tensor([7, 3, 21]), [], []
    monkeypatch.setattr(run.clip, "encode_text", lambda texts: told.extend(texts) or torch.eye(3, run.clip.embed_dim))
    monkeypatch.setattr(pretrain, "_jitter", lambda image, generator: seen.append(image) or image.float())
    texts = [str(row) for row in range(32)]
    run._loss(faces, rows, texts, torch.Generator())
    assert told == ["7", "3", "21"]
    assert torch.equal(seen[0], faces.image[rows])


def test_pool_shares_nobody_with_any_named_set(small, tmp_path):
    faces = pool.pool(0, 1, 64, tmp_path)
    seen = {tuple(row) for row in faces.people.form.tolist()}
    for name in sets.names():
        for split in sets.SPLITS:
            assert not seen & {tuple(row) for row in sets.draw(name, split).people.form.tolist()}


def test_seeds_draw_different_pools(small, tmp_path):
    first, second = (pool.pool(seed, 1, 64, tmp_path) for seed in (0, 1))
    assert not torch.equal(first.units, second.units)


def test_sine_positions_tell_rows_and_columns_apart():
    positions = dense.sine_positions(8, 8, 160)
    assert positions.shape == (65, 160)
    assert positions[0].abs().sum() == 0
    likeness = (
        torch.nn.functional.normalize(positions[1:], dim=1) @ torch.nn.functional.normalize(positions[1:], dim=1).T
    )
    assert (likeness.fill_diagonal_(0) < 0.999).all()


def line_of(out, *more, epochs=2):
    """Arguments of a small run, on shards of 32 faces."""
    small = ["shards=2", "dense_batch=32", "contrastive_batch=32"]
    small += [f"{phase}_epochs={epochs}" for phase in pretrain.PHASES]
    return ["--out", str(out), *(part for setting in small for part in ("--set", setting)), *more]


def killed(out, cache, after):
    """A run in another process, which dies after so many checkpoints; its exit code."""
    code = (
        "import os, sys; from fer_core.embedded import pool, pretrain; pool.SHARD = pretrain.SHARD = 32\n"
        "left, save = [int(sys.argv[1])], pretrain.Run._save\n"
        "def dying(run):\n"
        "    save(run); left[0] -= 1\n"
        "    if left[0] == 0: os._exit(9)\n"
        "pretrain.Run._save = dying; pretrain.main(sys.argv[2:])"
    )
    command = [sys.executable, "-c", code, str(after), *line_of(out)]
    return subprocess.run(command, env={**os.environ, "FER_CACHE": str(cache)}, check=False).returncode


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The output of a run that nothing disturbed; its cache is that of all runs here."""
    out, cache = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "SHARD", 32)
        patch.setattr(pretrain, "SHARD", 32)
        patch.setenv("FER_CACHE", str(cache))
        pretrain.main(line_of(out))
        yield out, cache


def test_a_run_leaves_weights_that_load_and_a_card_that_matches(finished):
    out, _ = finished
    tower = clip.load(f"embedded:{out / 'weights.safetensors'}")
    assert tower.embed_dim == 128
    card = json.loads((out / "model_card.json").read_text())
    assert card["sha256"] == hashlib.sha256((out / "weights.safetensors").read_bytes()).hexdigest()
    assert card["faces"] == 64
    assert card["start"] is None
    assert [row["phase"] for row in card["log"]] == ["dense", "dense", "contrastive", "contrastive"]
    # A finished run has nothing left to do and changes nothing.
    pretrain.main(line_of(out))
    assert json.loads((out / "model_card.json").read_text())["sha256"] == card["sha256"]


def test_another_run_does_not_touch_a_checkpoint(finished, capsys):
    out, _ = finished
    before = (out / "checkpoint.safetensors").read_bytes()
    with pytest.raises(SystemExit) as stop:
        pretrain.main(line_of(out, "--seed", "1"))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another run's checkpoint" in line
    assert (out / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("checkpoints", [1, 3], ids=["dense", "contrastive"])
def test_a_killed_run_ends_with_the_same_weights(finished, tmp_path, checkpoints):
    out, cache = finished
    assert killed(tmp_path, cache, checkpoints) == 9
    assert not (tmp_path / "weights.safetensors").exists()
    pretrain.main(line_of(tmp_path))
    assert (tmp_path / "weights.safetensors").read_bytes() == (out / "weights.safetensors").read_bytes()


def test_a_run_starts_from_earlier_weights_and_says_so(finished, tmp_path):
    out, _ = finished
    pretrain.main(line_of(tmp_path, "--start", str(out / "weights.safetensors"), epochs=0))
    # Nothing was trained, so that the weights are those it started from.
    assert (tmp_path / "weights.safetensors").read_bytes() == (out / "weights.safetensors").read_bytes()
    card = json.loads((tmp_path / "model_card.json").read_text())
    # The whole chain is told: what it started from, and how that was made.
    assert card["start"]["weights"] == clip.load(f"embedded:{out / 'weights.safetensors'}").weights
    assert card["start"]["card"] == json.loads((out / "model_card.json").read_text())


@pytest.mark.parametrize(("given", "message"), [
    (["--set", "dense_lr"], "--set: expected KEY=VALUE, got 'dense_lr'"),
    (["--set", "dense_lr=fast"], "pre-training.dense_lr: expected float, got 'fast'"),
    (["--set", "dense_lr=[1"], "--set: expected a YAML value for dense_lr, got '[1'"),
    (["--set", "shards=0"], "shards: expected at least 1, got 0"),
    (["--device", "gpu"], "device: expected one that this machine has, got 'gpu'"),
    (["--start", "{folder}/none.safetensors"], "expected "),
])  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(given, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        pretrain.main(["--out", str(tmp_path / "out"), *(word.format(folder=tmp_path) for word in given)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.removeprefix("pretrain: error: ").startswith(message)
    assert "; " in line


def test_settings_are_typed_as_those_of_experiments(monkeypatch, tmp_path):
    given = []

    def run(settings, *_):
        given.append(settings)
        raise UserError("enough; stop")

    monkeypatch.setattr(pretrain, "Run", run)
    chosen = ["dense_lr=1e-4", "bf16=false", 'habits={"swapped": 0.3}']
    with pytest.raises(SystemExit):
        pretrain.main(["--out", str(tmp_path), *(word for each in chosen for word in ("--set", each))])
    assert (given[0].dense_lr, given[0].bf16, given[0].habits.swapped) == (1e-4, False, 0.3)


@pytest.mark.parametrize("state", [{}, {"digest": "another"}])
def test_a_foreign_checkpoint_is_a_mistake(state, tmp_path):
    checkpoints.write(tmp_path / "checkpoint.safetensors", {"model": {"x": torch.zeros(1)}}, state)
    with pytest.raises(UserError, match=r"got another run's checkpoint; choose another --out"):
        pretrain.Run(pretrain.Pretraining(), 0, tmp_path, "cpu")


def test_a_loss_that_is_not_finite_is_a_mistake(small, tmp_path, monkeypatch):
    settings = pretrain.Pretraining(shards=1, dense_batch=32, contrastive_batch=32)
    run = pretrain.Run(settings, 0, tmp_path, "cpu")
    monkeypatch.setattr(run, "_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(UserError, match=r"expected a finite loss, got nan in step 0 of the dense phase; lower"):
        run.train(pool.pool(0, 1, 64, tmp_path))


def test_settings_are_checked(monkeypatch):
    monkeypatch.setattr(pretrain, "SHARD", 32)
    assert pretrain.Pretraining(shards=2, dense_batch=64, contrastive_batch=64)  # a step an epoch
    with pytest.raises(UserError, match="dense_batch: expected at most 64, the faces of the pool, got 65; take more"):
        pretrain.Pretraining(shards=2, dense_batch=65, contrastive_batch=64)
    with pytest.raises(ValueError, match="shards: expected at least 1, got 0"):
        pretrain.Pretraining(shards=0)
    with pytest.raises(UserError, match="did you mean 'shards'"):
        pretrain.build(pretrain.Pretraining, {"shard": 1}, "pre-training")
