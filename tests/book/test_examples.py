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


def test_every_file_stands_on_the_page():
    shown = set(re.findall(r"```\{literalinclude\} examples/(\S+)", PAGE))
    there = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.is_file()}
    assert shown == {name for name in there if "__pycache__" not in name}


def test_the_method_runs_and_begins_as_clip(project, tmp_path):
    told = run(project, "-m", "fer_core.cli", "methods", "--json")
    assert "task-res" in {each["name"] for each in json.loads(told)}
    run(
        project, "-m", "fer_core.cli", "run", "task-res-facs-still-8", "--profile", "smoke", "--quiet", "--records",
        str(tmp_path),
    )  # fmt: skip
    record = json.loads((tmp_path / "task-res-facs-still-8" / "smoke-seed0.json").read_text())
    assert record["trainable_parameters"] == 8 * 128  # a residual for each of the classes
    table = run(project, "-m", "fer_core.cli", "tables", "task-res-facs-still-8:scale")
    assert "scale 0.5 (paper)" in table
    assert "not run" in table


def test_its_own_test_passes(project):
    told = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models/test_task_res.py")
    assert "4 passed" in told


def test_the_data_set_is_checked_and_trained_on(project, tmp_path):
    root, records = tmp_path / "face-folders", tmp_path / "records"
    run(project, "-m", "fer_core.cli", "data", "demo", "face-folders", str(root))
    told = json.loads(run(project, "-m", "fer_core.cli", "data", "check", "face-folders", str(root), "--json"))
    assert told["splits"]["test"]["counts"] == dict.fromkeys(CLASSES, 1)
    run(
        project, "-m", "fer_core.cli", "run", "linear-probe-face-folders", "--profile", "smoke", "--quiet",
        "--data-root", str(root), "--records", str(records),
    )  # fmt: skip
    record = json.loads((records / "linear-probe-face-folders" / "smoke-seed0.json").read_text())
    assert record["metrics"]["n"] == 8
    (root / "test" / "hapiness").mkdir()
    shutil.copy(next((root / "test" / "anger").iterdir()), root / "test" / "hapiness")
    told = run(
        project, "-m", "fer_core.cli", "run", "linear-probe-face-folders", "--profile", "smoke", "--data-root",
        str(root), expected=2,
    )  # fmt: skip
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
