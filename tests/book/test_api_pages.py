"""The reference has every public name of the library, at an address that stays, on pages that anybody can read."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import public_names
import pytest
from sphinx.errors import ExtensionError
from sphinx.util.inventory import InventoryFile

from book import api_pages, api_reference, assets, build, page_stamps, stamps
from book.alone import alone
from book.api_pages import ROOMS, Room
from book.layout import Layout
from fer_core.errors import UserError

ROOT = Path(__file__).parents[2]
_KINDS = ("attribute", "class", "exception", "function", "method", "property")
_LARGEST = 3_000_000  # bytes of a page


@pytest.fixture(scope="module")
def public():
    return [each for module in public_names.modules() for each in public_names.of(module)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules, one of a kind, and one that is no part of the reference."""
    for name in ("alone", "inner/__init__", "inner/part", "inner/_private", "cli_x"):
        path = tmp_path / "package" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('"""What it is.\n\nMore."""\n')
    monkeypatch.setattr(api_pages, "_PACKAGE", tmp_path / "package")
    monkeypatch.setattr(api_pages, "ROOMS", (Room("one", "One", ("inner", "alone")),))
    return tmp_path / "package"


@pytest.fixture
def written(tmp_path, write_book):
    """A book of two pages of the reference, written."""
    layout = write_book(tmp_path / "book", [], ["api/clip", "api/losses"])
    api_pages.write(layout)
    return layout


def test_every_public_module_is_in_one_room():
    listed = [name for names in api_pages.modules().values() for name in names]
    assert sorted(listed) == sorted(module.__name__ for module in public_names.modules())


def test_every_room_is_in_the_table_of_contents():
    pages = [page for page in Layout(ROOT).pages if page.startswith(f"{api_pages.FOLDER}/")]
    assert pages == [room.page for room in ROOMS]


def test_a_new_module_in_a_package_turns_up_by_itself(package):
    expected = ["fer_core.inner", "fer_core.inner.part", "fer_core.alone"]
    assert list(api_pages.modules().values()) == [expected]
    (package / "inner" / "new.py").touch()
    assert list(api_pages.modules().values()) == [[*expected[:1], "fer_core.inner.new", *expected[1:]]]


def test_a_new_module_without_a_room_is_refused(package):
    (package / "new.py").touch()
    with pytest.raises(UserError, match=r"one of book\.api_pages\.ROOMS, got new; mend it"):
        api_pages.modules()


@pytest.mark.parametrize("modules", [("inner", "alone", "gone"), ("inner", "alone", "alone")])
def test_a_module_that_is_gone_or_placed_twice_is_refused(package, monkeypatch, modules):
    monkeypatch.setattr(api_pages, "ROOMS", (Room("one", "One", modules),))
    with pytest.raises(UserError, match=f"ROOMS, got {modules[-1]}; mend it"):
        api_pages.modules()


def test_pages_are_stale_when_the_library_has_other_modules(written):
    assert api_pages.stale(written) == {}
    page = written.root / "book" / "api" / "clip.rst"
    page.write_text(page.read_text().replace("fer_core.clip_towers", "fer_core.clip_old"))
    (written.root / "book" / "api" / "losses.rst").unlink()
    stale = {
        "book/api/clip": "changed since it was written: modules",
        "book/api/losses": "it has not been written",
    }
    assert api_pages.stale(written) == stale
    with pytest.raises(ExtensionError, match=r"stale pages: book/api/clip \(changed"):
        page_stamps.refuse_stale(SimpleNamespace(srcdir=str(written.root)))


@pytest.mark.parametrize(
    ("target", "module", "found"),
    [
        ("fer_core.experiments.run", None, "fer_core.experiments.running.run"),
        ("fer_core.faces.render", None, "fer_core.faces.render.render"),
        ("fer_core.clip", None, "fer_core.clip"),
        ("FaceDataset.take", "fer_core.data.files", "fer_core.data.dataset.FaceDataset.take"),
        ("Source", "fer_core.engine.personalising", "fer_core.engine.sources.Source"),
        ("Tensor", "fer_core.batch", "torch.Tensor"),
        ("Fit", "fer_core.engine.fitting", "Fit"),
        ("numpy.ndarray", "fer_core.metrics", "numpy.ndarray"),
    ],
)
def test_a_name_means_what_it_means_in_its_module(target, module, found):
    assert api_reference.full_name(target, module) == found


def test_nothing_of_the_library_is_excused_from_leading_somewhere(public):
    config = Layout(ROOT).config["sphinx"]["config"]
    assert "nitpick_ignore" not in config
    for role, pattern in config["nitpick_ignore_regex"]:
        assert role == "py:class"
        names = [name for each in public for name in (each.name, each.name.rpartition(".")[2])]
        assert [name for name in names if re.fullmatch(pattern, name)] == [], pattern


@pytest.fixture(scope="module")
def reference(tmp_path_factory, write_book):
    """A book of nothing but the reference, built as the project's is."""
    root = tmp_path_factory.mktemp("reference")
    layout = write_book(root, [], ["api", *(room.page.removeprefix("book/") for room in ROOMS), "design"])
    (root / "book" / "index.md").write_text("# A book of one part\n")
    (root / "book" / "design.md").write_text("# Design\n")
    for name in ("api.md", "references.bib"):
        shutil.copy(ROOT / "book" / name, root / "book")
    with alone(Layout(ROOT)):
        assets.fetch(Layout(ROOT))
        for name in ("assets", "extra"):
            shutil.copytree(ROOT / "book" / name, root / "book" / name)
    api_pages.write(layout)
    build.sphinx(layout)
    return layout


@pytest.mark.book
def test_every_public_name_has_an_address(reference, public):
    with (reference.html / "objects.inv").open("rb") as file:
        known = InventoryFile.load(file, "", lambda base, path: path)
    addresses = {name: entry[2] for kind in _KINDS for name, entry in known.get(f"py:{kind}", {}).items()}
    assert {each.name for each in public} - set(addresses) == set()
    rooms = {module: room for room, names in api_pages.modules().items() for module in names}
    for name, address in addresses.items():
        (room,) = {room for module, room in rooms.items() if name.startswith(f"{module}.")}
        assert address == f"{room.page}.html#{name}"


@pytest.mark.book
def test_pages_are_small_and_show_nothing_raw(reference):
    for room in ROOMS:
        path = reference.html / f"{room.page}.html"
        text = path.read_text(encoding="utf-8")
        assert path.stat().st_size < _LARGEST
        assert "<blockquote" not in text, room.name  # an indented part of a docstring whose paragraph lacks its ::
        assert not re.search(r'class="pre">~|&lt;factory|object at 0x|PosixPath|Alias for field', text), room.name
        assert str(ROOT) not in text
        assert stamps.library_digest() in text


@pytest.mark.book
def test_a_search_finds_a_function(reference, chromium):
    page = chromium.new_page()
    page.goto(f"{(reference.html / 'search.html').as_uri()}?q=mcnemar")
    page.locator('#search-results a[href$="measures.html#fer_core.metrics.mcnemar"]').wait_for()
    page.close()


@pytest.mark.book
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reference_is_accessible(reference, chromium, scheme):
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740}, offline=True)
    # The page of most kinds of parts, and one that was led to a function with a long signature.
    for address in ("adapt.html", "engine.html#fer_core.engine.fitting.fit"):
        page = context.new_page()
        page.goto(f"{(reference.html / api_pages.FOLDER).as_uri()}/{address}")
        assert page.locator("html").get_attribute("data-theme") == scheme
        page.add_script_tag(path=assets.axe(Layout(ROOT)))
        found = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []
    context.close()


@pytest.mark.book
def test_the_reference_fits_a_phone(reference, chromium):
    page = chromium.new_page(viewport={"width": 360, "height": 740})
    for room in ROOMS:
        page.goto((reference.html / f"{room.page}.html").as_uri())
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360, room.name
    page.close()
