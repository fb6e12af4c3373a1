"""A page is stale exactly when something that it was made from has changed."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest
import torch

from book import live, page_stamps, stamps
from book.stamps import NOT_HERE, Stamp
from fer_core import config, data
from fer_core.errors import UserError
from fer_core.faces import sets


def _execute(layout, notebook):
    """Puts a stamped copy in place, as the build does, without running anything."""
    copy = nbformat.read(layout.root / notebook.source, as_version=4)
    stamp = Stamp(stamps.inputs(layout, notebook, "quick", {}), "2026-01-01T00:00:00Z", 1.0, {}, {})
    stamps.attach(copy, stamp)
    target = layout.root / notebook.executed
    target.parent.mkdir(exist_ok=True)
    nbformat.write(copy, target)
    return stamp


def test_a_stamp_is_read_as_it_was_written(small_book):
    notebook = small_book.notebooks[0]
    assert stamps.read(small_book.root / notebook.executed) is None
    stamp = _execute(small_book, notebook)
    assert stamps.read(small_book.root / notebook.executed) == stamp


def test_pages_are_stale_until_executed(small_book):
    one, two = small_book.notebooks
    _execute(small_book, one)
    assert stamps.stale_pages(small_book) == {two.page: "it has not been executed"}
    _execute(small_book, two)
    assert stamps.stale_pages(small_book) == {}


def test_a_changed_source_makes_its_own_page_stale(small_book):
    for notebook in small_book.notebooks:
        _execute(small_book, notebook)
    source = small_book.root / small_book.notebooks[0].source
    source.write_text(source.read_text().replace("print", "repr"))
    assert stamps.stale_pages(small_book) == {small_book.notebooks[0].page: "changed since it ran: source"}


def test_a_new_record_makes_all_pages_stale(small_book):
    for notebook in small_book.notebooks:
        _execute(small_book, notebook)
    record = small_book.root / "book" / "records" / "coop-ferplus" / "full-seed0.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert set(stamps.stale_pages(small_book).values()) == {"changed since it ran: evidence"}
    assert len(stamps.stale_pages(small_book)) == 2


def test_another_library_makes_pages_stale(small_book, monkeypatch):
    for notebook in small_book.notebooks:
        _execute(small_book, notebook)
    monkeypatch.setattr(stamps, "library_digest", lambda: "0" * 16)
    monkeypatch.setattr("fer_core.__version__", "99")
    assert set(stamps.stale_pages(small_book).values()) == {"changed since it ran: version, library"}


def test_other_packages_make_pages_stale(small_book, monkeypatch):
    for notebook in small_book.notebooks:
        _execute(small_book, notebook)
    assert {"torch", "umap-learn", "matplotlib", "jupyter-book"} <= stamps.packages().keys()
    assert stamps.packages()["torch"] == torch.__version__.partition("+")[0]
    assert not {"pytest", "ruff", "onnx"} & stamps.packages().keys()  # `make test` and `make lint` add them
    others = {**stamps.packages(), "umap-learn": "0.0"}
    monkeypatch.setattr(stamps, "packages", lambda: others)
    assert set(stamps.stale_pages(small_book).values()) == {"changed since it ran: packages"}


@pytest.mark.parametrize(("field", "value"), [("profile", "full"), ("data", {"facs-still-8": "1" * 16})])
def test_another_profile_or_other_data_makes_a_notebook_stale(small_book, field, value):
    stamp = _execute(small_book, small_book.notebooks[0])
    assert stamps.stale(stamp, stamp.inputs) is None
    assert stamps.stale(stamp, replace(stamp.inputs, **{field: value})) == f"changed since it ran: {field}"


def test_the_digest_of_files_is_that_of_their_names_and_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"xy")
    (tmp_path / "b").write_bytes(b"z")
    expected = hashlib.sha256(b"a\x002\x00xyb\x001\x00z").hexdigest()[:16]
    assert stamps.digest_files([tmp_path / "b", tmp_path / "a"], tmp_path) == expected
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"yz")
    assert stamps.digest_files([tmp_path / "a", tmp_path / "b"], tmp_path) != expected


def test_data_that_is_not_here_is_said_to_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA_ROOT", str(tmp_path))
    stamps._fingerprint.cache_clear()
    assert stamps.fingerprints(["ferplus"]) == {"ferplus": NOT_HERE}
    stamps._fingerprint.cache_clear()


def test_the_fingerprint_of_data_changes_with_any_split(monkeypatch):
    splits = {"train": "1", "validation": "2", "test": "3"}
    monkeypatch.setattr(data, "names", lambda: ("some-set",))
    monkeypatch.setattr(data, "open", lambda name, split: type("Set", (), {"fingerprint": splits[split]}))
    found = set()
    for split in ("test", "train"):
        stamps._fingerprint.cache_clear()
        found.add(stamps.fingerprints(["some-set"])["some-set"])
        splits[split] = "changed"
    stamps._fingerprint.cache_clear()
    found.add(stamps.fingerprints(["some-set"])["some-set"])
    stamps._fingerprint.cache_clear()
    assert len(found) == 3


def test_an_unknown_data_set_in_a_notebook_is_refused():
    with pytest.raises(UserError, match="unknown data set 'no-such-set'"):
        stamps.fingerprints(["no-such-set"])


def test_rendered_sets_are_known_by_what_is_drawn_without_rendering(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    few = replace(sets.SETS["facs-pain"], counts=(4, 2, 2), people=(2, 1, 1), frames=2)
    monkeypatch.setitem(sets.SETS, "facs-pain", few)
    stamps._fingerprint.cache_clear()
    found = stamps.fingerprints(["facs-pain"])["facs-pain"]
    stamps._fingerprint.cache_clear()
    assert found == config.digest({split: data.open("facs-pain", split).fingerprint for split in data.SPLITS})


def test_a_page_is_made_from_what_it_takes_in(tmp_path):
    taken = {"book/part.md", "book/_generated/front.png", str(tmp_path / "book/references.bib"), "fer_core/x.py"}
    app = SimpleNamespace(srcdir=str(tmp_path), env=SimpleNamespace(dependencies={"book/index": taken}))
    names = ("part.md", "_generated/front.png", "references.bib")
    assert set(page_stamps._included(app, "book/index")) == {tmp_path / "book" / name for name in names}
    assert page_stamps._included(app, "book/other") == []


@pytest.mark.parametrize("what", ["library_digest", "packages"])
def test_models_for_pages_are_made_anew_where_what_makes_them_changed(what, monkeypatch):
    before = live._key()
    monkeypatch.setattr(stamps, what, lambda: {"torch": "0"})
    assert live._key() != before
