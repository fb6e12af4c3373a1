"""``fer-core data ...`` as a user meets it; and every licensed data set from miniature to smoke run."""

import json

import pytest

from fer_core import cli, experiments, records
from fer_core.cli_data import known_of
from fer_core.data import check, demo
from fer_core.data.layout import LAYOUTS


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    """The miniature of one data set, for tests that do not change it."""
    root = tmp_path_factory.mktemp("rafdb") / "demo"
    demo.write("raf-db", root)
    return root


def call(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    code = cli.main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_both_listings_are_one(capsys):
    assert call(capsys, "data", "list", "--json") == call(capsys, "datasets", "--json")
    assert call(capsys, "data", "list") == call(capsys, "datasets")


def test_a_listing_says_where_to_apply_and_how_much_there_is(capsys):
    rows = {row["name"]: row for row in json.loads(call(capsys, "data", "list", "--json")[1])}
    for name, row in rows.items():
        assert row["embedded"] == (name not in LAYOUTS)
        assert set(row) == set(rows["dfew"])
        assert row["kind"] in ("stills", "clips", "subjects")
    assert rows["dfew"]["samples"] == {"train": 9356, "test": 2341}
    assert rows["dfew"]["apply"] in rows["dfew"]["needs"]
    assert rows["facs-pain"]["classes"] == ["neutral", "pain"]
    assert rows["facs-pain"]["kind"] == "subjects"
    assert rows["facs-still-8"]["apply"] is None


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_from_miniature_to_smoke_run(name, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "demo"
    code, told, _ = call(capsys, "data", "demo", name, str(root), "--json")
    assert code == 0
    checking, *runs = json.loads(told)["next"]
    assert checking == f"fer-core data check {name} {root}"
    code, told, _ = call(capsys, *checking.split()[1:], "--json", "--all-files")
    report = json.loads(told)
    assert code == 0, report["findings"]
    assert {finding["kind"] for finding in report["findings"]} <= {"counts differ", "left out"}
    assert all(split["samples"] == split["decoded"] > 0 for split in report["splits"].values())
    (run,) = [run for run in runs if run.startswith(f"fer-core run zero-shot-{name} ")]
    code, told, _ = call(
        capsys, *run.split()[1:], "--json", "--quiet", "--device", "cpu", "--records", str(tmp_path / "records")
    )
    assert code == 0
    (record,) = json.loads(told)
    limit = 64 if LAYOUTS[name].kind == "stills" else 32
    assert record["metrics"]["n"] == min(report["splits"]["test"]["samples"], limit)
    assert record["metrics"]["classes"] == list(LAYOUTS[name].classes)
    (written,) = records.iterate(tmp_path / "records")
    assert written.fold == (1 if name in ("dfew", "mafw") else None)
    assert written.variant is None
    assert str(tmp_path) not in written.path.as_posix() + json.dumps(record)


PAPER = [name for name in experiments.names() if "paper" in experiments.load(name).profiles]
# A pass over small pictures goes through all that the paper's settings name; weights of the hub are not here.
QUICKLY = ("data.size=64", "training.epochs=1")


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    """A miniature of each licensed data set, written when it is first asked for."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "demo"
            demo.write(name, made[name], seed=0)
        return made[name]

    return of


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """Frames and features of the miniatures, which are read and encoded once for all that train on them."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", [name for name in PAPER if experiments.load(name).dataset in LAYOUTS])
def test_every_paper_profile_runs_on_a_miniature(
    name, miniatures, shared_cache, narrow_vit, capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("FER_CACHE", str(shared_cache))
    experiment = experiments.load(name)
    settings = [key for key in QUICKLY if key != "data.size=64" or "size" in experiment.settings("paper").data]
    if experiment.method in ("zero-shot", "majority"):
        settings = [key for key in settings if not key.startswith("training.")]
    if LAYOUTS[experiment.dataset].kind == "clips":
        settings.append("data.frames=4")
    settings += known_of(name, miniatures(experiment.dataset))
    settings.append(f"backbone={narrow_vit}")
    line = ["run", name, "--profile", "paper", "--json", "--quiet", "--device", "cpu"]
    line += ["--data-root", str(miniatures(experiment.dataset)), "--records", str(tmp_path / "records")]
    code, told, error = call(capsys, *line, *(part for key in settings for part in ("--set", key)))
    assert code == 0, error
    (record,) = json.loads(told)
    assert record["profile"] == "paper"
    assert record["method"] == experiment.method
    assert record["metrics"]["n"] > 0


def test_every_licensed_data_set_has_its_baselines():
    for name in LAYOUTS:
        for method in ("zero-shot", "linear-probe"):
            found = experiments.load(f"{method}-{name}")
            assert {"smoke", "paper"} <= set(found.profiles)
            # CLIP-AUTT's table has ViT-B/32, all others ViT-B/16.
            name_of = "ViT-B-32" if LAYOUTS[name].kind == "subjects" else "ViT-B-16"
            assert found.settings("paper").backbone == f"{name_of}-quickgelu:openai"


def test_a_demo_tells_what_to_do_next(capsys, tmp_path):
    root = tmp_path / "a folder"
    code, told, _ = call(capsys, "data", "demo", "raf-db", str(root), "--quiet")
    assert code == 0
    lines = told.splitlines()
    assert lines[0].startswith(f"wrote 29 files, 0.1 MB, to {root}")
    assert lines[1] == f"  fer-core data check raf-db '{root}'"
    assert f"  fer-core run zero-shot-raf-db --profile smoke --data-root '{root}'" in lines
    code, told, error = call(capsys, "data", "demo", "raf-db", str(root))
    assert (code, told) == (2, "")
    assert error.startswith("fer-core: error: data demo: expected ")
    assert error.count("\n") == 1


def test_a_check_ends_with_1_where_it_finds_something(rafdb, capsys, tmp_path):
    root = tmp_path / "copy"
    _copy(rafdb, root)
    assert call(capsys, "data", "check", "raf-db", str(root))[0] == 0
    next((root / "Image" / "aligned").glob("test_*")).unlink()
    code, told, error = call(capsys, "data", "check", "raf-db", str(root))
    assert (code, error) == (1, "")
    assert "error: missing files in test: 1 of 7 files of the list are not there" in told
    assert told.endswith("1 finding to look into\n")
    assert json.loads(call(capsys, "data", "check", "raf-db", str(root), "--json")[1])["sound"] is False


def _copy(source, target):
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("raf-bd", "ROOT"), "unknown licensed data set 'raf-bd'; did you mean 'raf-db'?"),
        (("dfew", "ROOT"), "dfew: expected EmoLabel_DataSplit or Clip, found none in "),
        (("raf-db", "ROOT/none"), "raf-db: expected "),
        (("raf-db",), "raf-db: expected a data folder, got none; name it (--data-root) or set FER_DATA_ROOT"),
        (("raf-db", "ROOT", "--option", "fold=2"), "unknown setting of data of raf-db 'fold'; known: size, "),
        (("raf-db", "ROOT", "--option", "size"), "--option: expected KEY=VALUE, got 'size'"),
        (("raf-db", "ROOT", "--sheet", "faces.jpg"), "data check: expected a .png file for the sheet, got 'faces.jpg'"),
    ],
)  # fmt: skip
def test_a_mistake_ends_a_check_with_2(rafdb, arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("FER_DATA_ROOT", raising=False)
    line = [argument.replace("ROOT", str(rafdb)) for argument in arguments]
    code, told, error = call(capsys, "data", "check", *line)
    assert (code, told) == (2, "")
    assert error.startswith(f"fer-core: error: {message}")
    assert error.count("\n") == 1


def test_a_check_takes_options_and_the_folder_from_the_environment(rafdb, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA_ROOT", str(rafdb))
    sheet = tmp_path / "faces.png"
    code, told, error = call(
        capsys, "data", "check", "raf-db", "--option", "validation=0", "--sheet", str(sheet), "--json"
    )
    report = json.loads(told)
    assert code == 0
    assert report["options"] == {"validation": 0}
    assert report["schema"] == check.SCHEMA
    assert report["splits"]["validation"]["samples"] == 0
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    assert error == f"wrote {sheet}\n"


@pytest.mark.parametrize("arguments", [["data"], ["data", "chek"], ["data", "demo", "raf-db"]])
def test_a_wrong_action_shows_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: fer-core data")
