import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from fer_core.errors import UserError
from fer_core.faces import CODES, sets
from fer_core.faces.sets import SETS, SPLITS


@pytest.mark.parametrize("name", sets.names())
def test_splits_share_nobody_and_are_balanced(name):
    spec = SETS[name]
    people = []
    for split in SPLITS:
        drawn = sets.draw(name, split)
        counts = torch.bincount(drawn.label, minlength=len(spec.classes))
        assert counts.max() - counts.min() <= 1
        people.append(set(drawn.subject.tolist()))
        assert len(people[-1]) == spec.people[SPLITS.index(split)]
    assert not people[0] & people[1]
    assert not people[1] & people[2]
    assert not people[0] & people[2]


@pytest.mark.parametrize("name", ["facs-pain", "facs-stress", "facs-ambivalence"])
def test_subject_sets_have_enough_subjects(name):
    assert SETS[name].people[0] >= 40
    assert SETS[name].people[2] >= 10
    drawn = sets.draw(name, "test")
    for subject in drawn.subject.unique():
        label = drawn.label[drawn.subject == subject]
        assert set(label.tolist()) == {0, 1}


def test_a_limit_is_a_prefix(tmp_path):
    small = sets.load("facs-still-8", "test", tmp_path, limit=8)
    large = sets.load("facs-still-8", "test", tmp_path, limit=24)
    assert torch.equal(small.image, large.image[:8])
    assert torch.equal(small.label, torch.arange(8))
    assert small.caption == large.caption[:8]
    assert small.fingerprint != large.fingerprint


def test_clip_tensors_have_a_time_axis(tmp_path):
    clips = sets.load("facs-clip-7", "validation", tmp_path, limit=7)
    frames = SETS["facs-clip-7"].frames
    assert clips.image.shape == (7, frames, 3, 64, 64)
    assert clips.image.dtype == torch.uint8
    assert clips.action_units.shape == (7, frames, len(CODES))
    assert clips.landmarks.shape == (7, frames, 68, 2)
    assert clips.parsing.shape == (7, frames, 64, 64)
    assert clips.votes.shape == (7, 7)
    # The expression changes the picture over time.
    assert (clips.image[1].float().diff(dim=0).abs().mean((1, 2, 3)) > 0).all()


def test_cache_is_used_and_a_broken_one_is_drawn_anew(tmp_path):
    first = sets.load("facs-still-8", "validation", tmp_path, limit=4)
    (kept,) = (tmp_path / "faces").iterdir()
    stamp = kept.stat().st_mtime_ns
    again = sets.load("facs-still-8", "validation", tmp_path, limit=4)
    assert kept.stat().st_mtime_ns == stamp
    assert torch.equal(first.image, again.image)
    kept.write_bytes(kept.read_bytes()[:1000])
    mended = sets.load("facs-still-8", "validation", tmp_path, limit=4)
    assert torch.equal(first.image, mended.image)
    assert [path.name for path in (tmp_path / "faces").iterdir()] == [kept.name]


def test_interrupt_leaves_nothing(tmp_path):
    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sets.load("facs-still-8", "test", tmp_path, limit=4, progress=stop)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_cache_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    faces = sets.load("facs-still-8", "test", blocked, limit=2)
    assert torch.equal(faces.image, sets.load("facs-still-8", "test", tmp_path, limit=2).image)
    (warning,) = caplog.messages
    assert "FER_CACHE" in warning


def test_a_full_disk_costs_one_warning(tmp_path, caplog, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise SafetensorError("IoError(Os { code: 28, kind: StorageFull })")

    monkeypatch.setattr(sets, "save_file", full)
    assert len(sets.load("facs-still-8", "test", tmp_path, limit=1)) == 1
    (warning,) = caplog.messages
    assert "StorageFull" in warning
    assert not list((tmp_path / "faces").iterdir())


def test_errors_name_what_is_known():
    with pytest.raises(UserError, match="did you mean 'facs-still-8'"):
        sets.draw("facs-still-7", "test")
    with pytest.raises(UserError, match="did you mean 'validation'"):
        sets.draw("facs-still-8", "validate")
    with pytest.raises(UserError, match="at least 1 sample, got 0"):
        sets.load("facs-still-8", "test", limit=0)


def test_fingerprint_sees_every_change(monkeypatch):
    drawn = sets.draw("facs-still-8", "test", 16)
    before = sets.fingerprint("facs-still-8", "test", drawn)
    assert before == sets.fingerprint("facs-still-8", "test", sets.draw("facs-still-8", "test", 16))
    changed = dataclasses.replace(drawn, label=drawn.label.flip(0))
    assert sets.fingerprint("facs-still-8", "test", changed) != before
    # A last digit of a drawn intensity is no other data set.
    rounded = dataclasses.replace(drawn, units=drawn.units * (1 + 1e-6))
    assert sets.fingerprint("facs-still-8", "test", rounded) == before
    monkeypatch.setattr(sets, "GENERATOR_VERSION", 999)
    assert sets.fingerprint("facs-still-8", "test", drawn) != before


@pytest.mark.parametrize("name", ["facs-still-8", "facs-clip-7", "facs-pain"])
def test_draws_are_those_of_this_generator_version(name):
    """A change of any draw must raise GENERATOR_VERSION: the fingerprint does not show units, votes and captions."""
    golden = json.loads((Path(__file__).parent / "golden_draws.json").read_text())
    assert golden["generator"] == sets.GENERATOR_VERSION, "write it anew: python tests/faces/make_golden.py"
    known, drawn = golden["draws"][name], sets.draw(name, "test", 16)
    units = drawn.units[:, ::2] if SETS[name].frames else drawn.units
    for values, thousandths in ((units, known["units"]), (drawn.apex, known["apex"])):
        torch.testing.assert_close(1000 * values, torch.tensor(thousandths).float(), atol=0.6, rtol=0)
    assert drawn.votes.tolist() == known["votes"]
    assert hashlib.sha256("\n".join(drawn.caption).encode()).hexdigest() == known["captions"]


@pytest.mark.parametrize("name", ["facs-pain", "facs-stress", "facs-ambivalence"])
def test_one_session_a_subject(name):
    drawn = sets.draw(name, "test")
    person = drawn.subject.repeat_interleave(SETS[name].frames)
    same = {"light", "ambient", "gain", "warmth", "background", "pattern", "clothes", "grey", "blur", "jpeg"}
    own = {"yaw", "pitch", "roll", "shift", "scale", "noise", "seed"}
    for subject in person.unique():
        views = {part: values[person == subject] for part, values in vars(drawn.views).items()}
        assert {part for part in same if (views[part] != views[part][0]).any()} == set()
        assert {part for part in own if (views[part] == views[part][0]).all()} == set()
        assert (views["occlusion"] == 0).all()
    # One recording is not another's.
    assert len(drawn.views.background[:, 0].unique(dim=0)) == len(drawn.subject.unique())


def test_some_stills_are_drawn_as_among_all():
    drawn = sets.draw("facs-still-8", "test", 16)
    some = drawn.take(torch.tensor([9, 2]))
    assert torch.equal(some.units, drawn.units[[9, 2]])
    assert torch.equal(some.people.tone, drawn.people.tone[[9, 2]])
    assert torch.equal(some.views.grey, drawn.views.grey[[9, 2]])
    assert some.caption == [drawn.caption[9], drawn.caption[2]]
