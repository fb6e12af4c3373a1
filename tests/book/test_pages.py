"""Built pages work from a folder, with no network and no kernel: links, maths, widgets, accessibility.

They are those of a small book that holds one of each thing, and of the project's own where `make book` has built it.
"""

import re
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from book import assets, build, stamps
from book.alone import alone
from book.execution import execute_all
from book.layout import Layout
from fer_core.errors import UserError

pytestmark = pytest.mark.book

ROOT = Path(__file__).parents[2]
LINKED = """\
import ipywidgets as widgets
number = widgets.BoundedIntText(40, min=0, max=100, description="Number")
bar = widgets.IntProgress(40, min=0, max=100)
link = widgets.jslink((number, "value"), (bar, "value"))
widgets.VBox([number, bar, widgets.Button(description="With an icon", icon="check")])"""
COUNTER = """\
import anywidget, numpy, traitlets
class Counter(anywidget.AnyWidget):
    _esm = '''export default { render({ model, el }) {
        const button = document.createElement("button");
        const sum = () => new Float32Array(model.get("values").buffer).reduce((a, b) => a + b, 0);
        const draw = () => { button.textContent = `counted ${model.get("count")} of ${sum()}`; };
        button.className = "counter";
        button.onclick = () => model.set("count", model.get("count") + 1);
        model.on("change:count", draw); draw(); el.append(button);
    } }'''
    count = traitlets.Int(0).tag(sync=True)
    values = traitlets.Bytes(b"").tag(sync=True)
Counter(values=numpy.arange(4, dtype=numpy.float32).tobytes())"""
FIGURE = """\
import matplotlib.pyplot as plt
from myst_nb import glue
glue("answer", 42.0, display=False)
plt.figure(facecolor="white").subplots().plot([1, 2, 3]);"""
INDEX = """\
# A small book

A page with a [link to a chapter](notebooks/widgets.ipynb), a term, {term}`logit scale`, a citation
{cite:p}`radford2021clip`, and a number of another page: {glue:text}`notebooks/widgets.ipynb::answer:.1f`.

| Table | Cell |
|---|---|
| a | $x^2$ |
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory, write_notebook, write_book):
    """A small book, built as the project's is."""
    root = tmp_path_factory.mktemp("pages")
    figure = {"mystnb": {"image": {"alt": "A rising line"}, "figure": {"caption": "A line.", "name": "fig-line"}}}
    maths = "Below, {numref}`fig-line`. With $s > 0$:\n\n$$p_c = \\frac{e^{s t_c}}{\\sum_k e^{s t_k}}$$"
    cells = (maths, (FIGURE, figure), (LINKED, {}), (COUNTER, {}))
    write_notebook(root / "notebooks" / "widgets.ipynb", *cells)
    layout = write_book(root, ["widgets"], ["glossary", "bibliography", "status"])
    (root / "book" / "index.md").write_text(INDEX)
    for name in ("glossary.md", "bibliography.md", "status.md", "references.bib"):
        shutil.copy(ROOT / "book" / name, root / "book")
    with alone(Layout(ROOT)):
        assets.fetch(Layout(ROOT))
        for name in ("assets", "extra"):
            shutil.copytree(ROOT / "book" / name, root / "book" / name)
    execute_all(layout, "smoke", 1, print)
    build.status.write(layout)
    build.sphinx(layout)
    return layout


@pytest.fixture(scope="module", params=["small", "project"])
def html(request, small):
    """The folder of a built book's pages."""
    return small.html if request.param == "small" else request.getfixturevalue("project")


@pytest.fixture(scope="module")
def project():
    """The folder of the project's own pages, if they are built and of today."""
    layout = Layout(ROOT)
    if not layout.html.is_dir():
        pytest.skip("the project's book is not built here; `make book` builds it")
    stale = stamps.stale_pages(layout)
    if stale:
        pytest.skip(f"the project's book is out of date ({', '.join(stale)}); `make book` builds it again")
    return layout.html


# MathJax is loaded where the page asks for it, every widget has been drawn, and every font that the page uses is there.
SETTLED = """() =>
    (!document.querySelector("script[src*=mathjax]") || window.MathJax?.startup?.promise)
    && document.querySelectorAll("script[type*=widget-view]").length
        === document.querySelectorAll(".widget-subarea > *").length
    && document.fonts.status === "loaded"
"""


class Visit:
    """Pages opened with the network cut, and everything that went wrong on them."""

    def __init__(self, browser, scheme="light"):
        self.wrong = []
        self.context = browser.new_context(color_scheme=scheme)
        self.context.set_default_timeout(120_000)  # ms; a busy machine is no fault of the page
        self.context.set_offline(True)
        self.context.route(re.compile(r"^(https?|wss?):"), self._refuse)

    def _refuse(self, route):
        self.wrong.append(f"asked the network for {route.request.url}")
        route.abort()

    def open(self, path):
        page = self.context.new_page()
        page.on("requestfailed", lambda request: self.wrong.append(f"{path.name}: failed {request.url}"))
        page.on("pageerror", lambda error: self.wrong.append(f"{path.name}: {error}"))
        page.on("console", lambda line: line.type == "error" and self.wrong.append(f"{path.name}: {line.text}"))
        page.goto(path.as_uri())
        page.wait_for_function(SETTLED)
        page.evaluate("() => window.MathJax?.startup?.promise")
        return page


@pytest.fixture
def visit(chromium):
    opened = Visit(chromium)
    yield opened
    opened.context.close()


def _pages(html):
    return sorted(path for path in (html / "book").rglob("*.html") if "@jupyter-widgets" not in path.parts)


class _Links(HTMLParser):
    """What a page loads, where it leads, and the places that it can be entered at."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.leads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and "href" in values:
            self.leads.append(values["href"])
        elif tag == "link" and "href" in values:
            self.loads.append(values["href"])
        elif values.get("src"):
            self.loads.append(values["src"])


def test_pages_load_nothing_from_elsewhere(html):
    for path in [*_pages(html), *html.glob("*.html")]:
        text = path.read_text(encoding="utf-8")
        remote = [link for link in _Links(text).loads if urlsplit(link).netloc or link.startswith("//")]
        assert remote == [], path.name
        assert 'import("http' not in text
        assert "url(http" not in text


def test_every_link_between_pages_leads_somewhere(html):
    parsed = {path: _Links(path.read_text(encoding="utf-8")) for path in [*_pages(html), *html.glob("*.html")]}
    broken = defaultdict(list)
    for path, links in parsed.items():
        for link in links.loads + links.leads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("#"):
                target = path if link.startswith("#") else None
            else:
                target = (path.parent / unquote(parts.path)).resolve()
            if target is None or (link in ("#", "")):
                continue
            known = {found.resolve(): found for found in parsed}
            if not target.exists() or (
                parts.fragment and target in known and unquote(parts.fragment) not in parsed[known[target]].ids
            ):
                broken[path.name].append(link)
    assert dict(broken) == {}


def test_every_page_says_what_it_was_made_from(html):
    for path in _pages(html):
        text = path.read_text(encoding="utf-8")
        assert text.count('class="page-stamp docutils container"') == 1, path.name
        assert ('class="page-run docutils container"' in text) == (path.parent.name == "notebooks"), path.name


def test_the_book_stays_small(html):
    """Under 60 MB as a whole, and a page with its pictures under 3 MB."""
    sizes = {path: path.stat().st_size for path in html.rglob("*") if path.is_file()}
    largest = sorted(sizes, key=lambda path: -sizes[path])[:10]
    assert sum(sizes.values()) < 60e6, [(str(path.relative_to(html)), sizes[path]) for path in largest]
    for page in html.rglob("*.html"):
        pictures = set(re.findall(r"_images/[\w.-]+", page.read_text(encoding="utf-8")))
        assert sizes[page] + sum(sizes[html / picture] for picture in pictures) < 3e6, page.name


def test_pages_open_without_network_or_error(html, visit):
    paths = _pages(html)
    assert len(paths) >= 5
    for path in [*paths, html / "search.html"]:
        visit.open(path).close()
    assert visit.wrong == []


def test_maths_is_typeset(small, visit):
    page = visit.open(small.html / "book" / "notebooks" / "widgets.html")
    assert page.locator("mjx-container[display=true] mjx-mfrac").count() == 1
    assert "\\frac" not in page.locator("main").inner_text()


def test_linked_widgets_move_together(small, visit):
    page = visit.open(small.html / "book" / "notebooks" / "widgets.html")
    bar = page.locator(".progress-bar")
    assert "width: 40%" in bar.get_attribute("style")
    page.get_by_label("Number").fill("75")
    page.get_by_label("Number").press("Enter")
    assert "width: 75%" in bar.get_attribute("style")
    assert visit.wrong == []


def test_an_anywidget_runs_with_its_binary_state(small, visit):
    page = visit.open(small.html / "book" / "notebooks" / "widgets.html")
    button = page.locator("button.counter")
    assert button.inner_text() == "counted 0 of 6"
    button.click()
    button.click()
    assert button.inner_text() == "counted 2 of 6"
    assert visit.wrong == []


def test_pages_fit_a_phone(html, visit):
    wide = {}
    for path in _pages(html):
        page = visit.open(path)
        page.set_viewport_size({"width": 375, "height": 800})
        wide[path.name] = page.evaluate("() => document.documentElement.scrollWidth")
        page.close()
    assert {name: width for name, width in wide.items() if width > 375} == {}


def test_a_new_reader_gets_from_the_front_page_to_a_demo_a_chapter_and_its_command(project, visit):
    page = visit.open(project / "book" / "index.html")
    page.get_by_role("main").get_by_role("link", name="action-unit studio").click()
    slider = page.get_by_label("AU4 brow lowerer")
    said = page.get_by_role("table").filter(has_text="les-clip").first
    before = said.inner_text()
    slider.press("End")
    page.wait_for_function("([table, before]) => table.innerText !== before", arg=[said.element_handle(), before])
    page.get_by_role("main").get_by_role("link", name="LES-CLIP").first.click()
    command = page.locator(".page-run")
    assert "papermill notebooks/les_clip.ipynb" in command.inner_text()
    assert command.bounding_box()["y"] < page.viewport_size["height"]  # seen without scrolling
    assert visit.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(html, chromium, scheme):
    visit = Visit(chromium, scheme)
    found = []
    for path in _pages(html):
        page = visit.open(path)
        assert page.locator("html").get_attribute("data-theme") == scheme
        page.add_script_tag(path=assets.axe(Layout(ROOT)))
        for finding in page.evaluate("() => axe.run({ resultTypes: ['violations'] })")["violations"]:
            for node in finding["nodes"]:
                if finding["impact"] in ("serious", "critical"):
                    found.append((path.name, finding["id"], node["html"][:150]))
        page.close()
    visit.context.close()
    assert found == []


def test_a_stale_page_fails_the_build_and_keeps_the_book_of_before(small, tmp_path, capfd):
    root = tmp_path / "copy"
    shutil.copytree(small.root, root, ignore=shutil.ignore_patterns("unfinished"))
    source = root / "notebooks" / "widgets.ipynb"
    changed = nbformat.read(source, as_version=4)
    changed.cells[0].source = "# Another title"
    nbformat.write(changed, source)
    with pytest.raises(UserError, match="the book of before is kept"):
        build.sphinx(Layout(root))
    assert "stale pages: book/notebooks/widgets (changed since it ran: source)" in capfd.readouterr().err
    assert "<title>Widgets" in (root / "_build" / "html" / "book" / "notebooks" / "widgets.html").read_text()


def test_a_warning_fails_the_build(small, tmp_path, capfd):
    root = tmp_path / "copy"
    shutil.copytree(small.root, root, ignore=shutil.ignore_patterns("unfinished"))
    (root / "book" / "index.md").write_text("# A title\n\nA [broken link](nowhere.md).\n")
    with pytest.raises(UserError):
        build.sphinx(Layout(root))
    assert "nowhere.md" in capfd.readouterr().err


def test_a_repository_turns_the_commands_into_a_link_too(small, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(small.root, root, ignore=shutil.ignore_patterns("unfinished"))
    config = root / "_config.yml"
    config.write_text(config.read_text().replace('url: ""', "url: https://github.com/owner/name"))
    build.sphinx(Layout(root))
    page, before = (
        (folder / "book" / "notebooks" / "widgets.html").read_text() for folder in (Layout(root).html, small.html)
    )
    link = 'href="https://colab.research.google.com/github/owner/name/blob/main/notebooks/widgets.ipynb"'
    assert link in page
    assert "colab" not in before.lower()
    for text in (page, before):
        assert '<span class="pre">make</span> <span class="pre">lab</span>' in text
