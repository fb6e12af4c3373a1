"""A Sphinx extension: each page says how to run it and what it was made from, and a stale one ends the build."""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import fer_core
from book import api_pages, stamps
from book.layout import Layout

_SOURCES = (".md", ".py", ".yaml", ".ipynb", ".bib", ".png")
_COLAB = "https://colab.research.google.com/github"


def refuse_stale(app: Sphinx) -> None:
    """Ends the build if an executed notebook, or a page of the reference, does not stand for its sources.

    Raises:
        ExtensionError: Naming each stale page and why it is stale.
    """
    layout = Layout(Path(app.srcdir))
    stale = stamps.stale_pages(layout) | api_pages.stale(layout)
    if stale:
        listed = "; ".join(f"{page} ({reason})" for page, reason in stale.items())
        raise ExtensionError(f"stale pages: {listed}; run `make book`")


def stamp_page(app: Sphinx, doctree: nodes.document) -> None:
    """Adds how to run a notebook's page after its title, and the stamp at the page's end."""
    layout = Layout(Path(app.srcdir))
    section = next(iter(doctree.findall(nodes.section)), None)
    if section is None:
        return
    page = app.env.docname
    notebook = next((each for each in layout.notebooks if each.page == page), None)
    parts: list[tuple[str, str | None, str]]
    ran = None
    if notebook is None:
        source = str(app.env.doc2path(page, base=False))
        made_from = [layout.root / source, *_included(app, page)]
        parts = [("source", source, stamps.digest_files(made_from, layout.root))]
        if page.startswith(f"{api_pages.FOLDER}/"):
            parts.append(("library", None, stamps.library_digest()))
    else:
        stamp = stamps.read(layout.root / notebook.executed)
        assert stamp is not None, "refuse_stale lets no notebook without a stamp through"
        section.insert(1, _how_to_run(notebook.source, layout))
        known = stamp.inputs
        parts = [
            ("source", notebook.source, known.source),
            ("library", None, known.library),
            ("records", None, known.evidence),
            *(("data", name, value) for name, value in known.data.items()),
        ]
        started = stamp.started.replace("T", " ").replace("Z", " UTC")
        ran = f"profile {known.profile}, ran {started}, {stamp.seconds:.0f} s"
    section.append(_stamp(parts, ran))


def _included(app: Sphinx, page: str) -> list[Path]:
    """Files that the page takes in, such as the generated part of the status page, or code that it shows."""
    root = Path(app.srcdir)
    found = {root / name for name in app.env.dependencies.get(page, ())}  # some extensions note whole paths
    return [path for path in found if path.is_relative_to(root / "book") and path.suffix in _SOURCES]


def _stamp(parts: list[tuple[str, str | None, str]], ran: str | None) -> nodes.container:
    line = nodes.paragraph("", f"fer_core {fer_core.__version__}")
    for kind, name, digest in parts:
        line += nodes.Text(f" · {kind} ")
        if name:
            line += [nodes.literal(name, name), nodes.Text(" ")]
        line += nodes.literal(digest, digest) if digest != stamps.NOT_HERE else nodes.Text(digest)
    if ran:
        line += nodes.Text(f" · {ran}")
    return nodes.container("", line, classes=["page-stamp"])


def _how_to_run(source: str, layout: Layout) -> nodes.container:
    run = f".venv/bin/papermill {source} run.ipynb -p profile quick"
    line = nodes.paragraph("", "Run this page yourself: ")
    if layout.repository:
        owner_and_name = "/".join(layout.repository.rstrip("/").rsplit("/", 2)[-2:])
        branch = layout.config["repository"].get("branch", "main")
        address = f"{_COLAB}/{owner_and_name}/blob/{branch}/{source}"
        line += [nodes.reference("", "open it in Colab", refuri=address), nodes.Text("; or in a checkout ")]
    line += [nodes.literal("", "make lab"), nodes.Text(" and open "), nodes.literal("", source)]
    line += [nodes.Text(", or without a browser "), nodes.literal("", run), nodes.Text(".")]
    return nodes.container("", line, classes=["page-run"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the two steps with Sphinx."""
    app.connect("builder-inited", refuse_stale)
    app.connect("doctree-read", stamp_page)
    return {"version": fer_core.__version__, "parallel_read_safe": True, "parallel_write_safe": True}
