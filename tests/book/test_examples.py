"""What the page *Add your own* says works: its files are put into a copy of the project, and its commands are run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from fer_core.data import CLASSES

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "book" / "examples"
PAGE = (ROOT / "book" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the examples in it."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("fer_core", "tests", "notebooks", "book/published"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, copy)
    for name in re.search(r"cp -r (.+) \.\n", PAGE)[1].split():
        shutil.copytree(ROOT / name, copy / Path(name).name, dirs_exist_ok=True)
    for place, line in re.findall(r"`(fer_core/\w+/__init__\.py)`.*?```python\n(.+?)\n```", PAGE, re.DOTALL):
        with (copy / place).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    return copy


def run(project, *command, expected=0, **environment):
    done = subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(project), **environment},
    )  # fmt: skip
    assert done.returncode == expected, done.stderr[-2000:]
    return done.stdout + done.stderr


# One process for several commands: it takes longer to import torch than to do what they ask for.
COMMANDS = """
import contextlib, io, json, sys
from fer_core import cli
told = []
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        code = cli.main(line)
    told.append([code, out.getvalue(), error.getvalue()])
print(json.dumps(told))
"""


def commands(project, *lines):
    """Exit status, output and errors of each ``fer-core`` command."""
    return json.loads(run(project, "-c", COMMANDS, json.dumps(lines)))


def test_every_file_stands_on_the_page():
    shown = set(re.findall(r"```\{literalinclude\} examples/(\S+)", PAGE))
    there = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.is_file()}
    assert shown == {name for name in there if "__pycache__" not in name}


def test_the_method_runs_and_begins_as_clip(project, tmp_path):
    listed, ran, printed = commands(
        project,
        ("methods", "--json"),
        ("run", "task-res-facs-still-8", "--profile", "smoke", "--quiet", "--records", str(tmp_path)),
        ("tables", "task-res-facs-still-8:scale"),
    )
    assert [listed[0], ran[0], printed[0]] == [0, 0, 0], (listed, ran, printed)
    assert "task-res" in {each["name"] for each in json.loads(listed[1])}
    record = json.loads((tmp_path / "task-res-facs-still-8" / "smoke-seed0.json").read_text())
    assert record["trainable_parameters"] == 8 * 128  # a residual for each of the classes
    assert "scale 0.5 (paper)" in printed[1]
    assert "not run" in printed[1]


def test_its_own_test_passes(project):
    told = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models/test_task_res.py")
    assert "4 passed" in told


def test_the_data_set_is_checked_and_trained_on(project, tmp_path):
    root, records = tmp_path / "face-folders", tmp_path / "records"
    smoke = ("run", "linear-probe-face-folders", "--profile", "smoke", "--data-root", str(root))
    wrote, checked, ran = commands(
        project,
        ("data", "demo", "face-folders", str(root)),
        ("data", "check", "face-folders", str(root), "--json"),
        (*smoke, "--quiet", "--records", str(records)),
    )
    assert [wrote[0], checked[0], ran[0]] == [0, 0, 0], (wrote, checked, ran)
    assert json.loads(checked[1])["splits"]["test"]["counts"] == dict.fromkeys(CLASSES, 1)
    record = json.loads((records / "linear-probe-face-folders" / "smoke-seed0.json").read_text())
    assert record["metrics"]["n"] == 8
    (root / "test" / "hapiness").mkdir()
    shutil.copy(next((root / "test" / "anger").iterdir()), root / "test" / "hapiness")
    told = run(project, "-m", "fer_core.cli", *smoke, expected=2)
    assert "hapiness" in told
    assert "happiness" in told


def test_the_chapter_runs(project, tmp_path):
    source = project / "notebooks" / "task_res.ipynb"
    run(
        project, "-m", "papermill", "--no-progress-bar", "--cwd", str(project), "-p", "profile", "smoke",
        str(source), str(tmp_path / "done.ipynb"),
    )  # fmt: skip
    done = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    said = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("zero-shot-facs-still-8" in each.get("text", "") for each in said)
    assert any("image/png" in each.get("data", {}) for each in said)
    (gain,) = (each.metadata["scrapbook"] for each in said if each.get("metadata", {}).get("scrapbook", {}).get("name"))
    assert gain["name"] == "gain" or gain["name"].endswith("gain")
