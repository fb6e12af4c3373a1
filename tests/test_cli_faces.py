import argparse
import json

import numpy as np
import pytest
from PIL import Image

from fer_core import cli_common, cli_faces
from fer_core.data.alignment import Alignment
from fer_core.errors import UserError


def call(*arguments):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    cli_faces.add_commands(lambda name, call, text: cli_common.add(commands, name, call, text))
    parsed = parser.parse_args(["align", *map(str, arguments)])
    parsed.call(parsed)


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "faces").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((40, 60, 3), 90, dtype=np.uint8)).save(tmp_path / "raw" / f"{name}.png")
    face = {"box": [10, 10, 30, 30], "points": [[15, 15], [25, 15], [20, 20], [16, 26], [24, 26]]}
    (tmp_path / "faces" / "a.json").write_text(json.dumps({"faces": [face]}))
    return tmp_path / "raw", tmp_path / "out", "--finder", "files", "--faces", tmp_path / "faces", "--quiet"


def test_align(folders, capsys):
    call(*folders, "--size", 32)
    out = capsys.readouterr().out
    assert "1 aligned, 1 skipped" in out
    assert "2 photographs\n" in out
    with Image.open(folders[1] / "a.png") as crop:
        assert crop.size == (32, 32)


def test_json(folders, capsys):
    call(*folders, "--mode", "points", "--right-eye", 0.3, 0.4, "--left-eye", 0.7, 0.4, "--none", "centre", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["outcomes"] == {"aligned": 2}
    assert report["counts"]["photographs centred"] == 1
    note = json.loads((folders[1] / "alignment.json").read_text())
    assert note["alignment"]["right_eye"] == [0.3, 0.4]
    assert note["digest"] == report["digest"]


def test_what_is_not_said_is_the_default(folders):
    call(*folders)
    note = json.loads((folders[1] / "alignment.json").read_text())
    default = Alignment()
    assert note["alignment"]["size"] == default.size
    assert note["alignment"]["left_eye"] == list(default.left_eye)


def test_mistakes(folders):
    with pytest.raises(UserError, match="expected 16 to 4096 pixels, got 4"):
        call(*folders, "--size", 4)
    with pytest.raises(UserError, match="expected their folder, got none"):
        call(folders[0], folders[1], "--finder", "files")


def test_choices_are_those_of_the_alignment():
    for name, choices in (("mode", cli_faces.MODES), ("several", cli_faces.SEVERAL), ("none", cli_faces.NONE)):
        assert all(getattr(Alignment(**{name: choice}), name) == choice for choice in choices)
