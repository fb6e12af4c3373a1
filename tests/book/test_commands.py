"""Commands that pages, scripts and notebooks tell of name experiments and profiles that there are."""

import fnmatch
import json
import re
from pathlib import Path

import pytest

from fer_core import experiments

ROOT = Path(__file__).parents[2]
TEXTS = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md")),
    *sorted((ROOT / "book/launch").iterdir()), *sorted((ROOT / "notebooks").glob("*.ipynb")),
]  # fmt: skip
EXAMPLES = {path.stem for path in (ROOT / "book/examples").rglob("*.yaml")}  # added where a reader follows the page
COMMAND = re.compile(
    r"(?:fer-core (?:run|sweep|reproduce|atlas)|(?:one-gpu|one-node)\.sh|several-nodes\.sbatch)"
    r" +'?([a-z][a-z0-9*]*-[a-z0-9*-]+)(?![\w…*-])'?([^\n`]*)"
)
MODEL = re.compile(r"--model ([a-z][a-z0-9-]+)(?![\w.])")


def text_of(path):
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_name_what_there_is(path):
    text = text_of(path)
    for name, rest in COMMAND.findall(text):
        if name in EXAMPLES:
            continue
        named = fnmatch.filter(experiments.names(), name)
        assert named, f"{name}: no such experiment"
        for profile in re.findall(r"--profile (\w+)", rest):
            assert any(profile in experiments.load(each).profiles for each in named), f"{name}: no profile {profile}"
    for name in MODEL.findall(text):
        assert name in (*experiments.names(), "zero-shot"), f"--model {name}: no such experiment"


def test_there_are_commands_to_look_at():
    assert sum(len(COMMAND.findall(text_of(path))) for path in TEXTS) > 10
