"""Browser files are fetched once, by a lock that checks each of them and names no host."""

import json
import subprocess
from pathlib import Path

import pytest

from book import assets
from book.layout import Layout
from fer_core.errors import UserError

BOOK = Path(__file__).parents[2] / "book"


@pytest.fixture
def layout(tmp_path):
    (tmp_path / "book").mkdir()
    for name in ("package.json", "package-lock.json"):
        (tmp_path / "book" / name).write_bytes((BOOK / name).read_bytes())
    return Layout(tmp_path)


def _npm(calls, returncode=0, output="", files=()):
    """Stands for npm: notes its calls and makes the files that would be there."""

    def run(arguments, cwd, **_):
        calls.append(arguments)
        for name in files:
            path = cwd / "node_modules" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return subprocess.CompletedProcess(arguments, returncode, stdout=output)

    return run


FILES = (
    "axe-core/axe.min.js",
    "requirejs/require.js",
    "@jupyter-widgets/html-manager/dist/embed-amd.js",
    "@jupyter-widgets/html-manager/dist/embed.js.LICENSE.txt",
    "@jupyter-widgets/html-manager/dist/icons.woff2",
    "mathjax/es5/tex-mml-chtml.js",
    "mathjax/LICENSE",
    "mathjax/es5/output/chtml/fonts/woff-v2/MathJax_Zero.woff",
)


def test_files_are_fetched_once_and_again_when_the_lock_changes(layout, monkeypatch):
    calls = []
    monkeypatch.setattr(assets, "npm", _npm(calls, files=FILES))
    assert assets.fetch(layout)
    assert not assets.fetch(layout)
    assert len(calls) == 1
    assert "--ignore-scripts" in calls[0]
    lock = layout.root / "book" / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    assert assets.fetch(layout)


def test_files_lie_where_pages_ask_for_them(layout, monkeypatch):
    monkeypatch.setattr(assets, "npm", _npm([], files=FILES))
    assets.fetch(layout)
    book = layout.root / "book"
    vendor = book / "assets" / "vendor"
    assert (vendor / "mathjax" / "output" / "chtml" / "fonts" / "woff-v2" / "MathJax_Zero.woff").is_file()
    assert "anywidget" in (vendor / "anywidget" / "index.js").read_text()
    assert (vendor / "widgets" / "icons.woff2").is_file()
    assert (book / "extra" / "book" / "notebooks" / "@jupyter-widgets" / "icons.woff2").is_file()


def test_a_fetch_that_fails_is_told_in_one_line_and_tried_again(layout, monkeypatch):
    calls = []
    monkeypatch.setattr(
        assets, "npm", _npm(calls, returncode=1, output="npm error code EAI_AGAIN\n\nnpm error no host\n")
    )
    for _ in range(2):
        with pytest.raises(UserError, match="EAI_AGAIN npm error no host; check the network") as raised:
            assets.fetch(layout)
        assert "\n" not in str(raised.value)
    assert len(calls) == 2


def test_the_lock_checks_every_package_and_names_no_host():
    packages = json.loads((BOOK / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert {"node_modules/mathjax", "node_modules/requirejs", "node_modules/axe-core"} <= set(installed)
    assert [name for name, package in installed.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in installed.items() if "resolved" in package] == []


def test_the_lock_is_that_of_the_manifest():
    manifest = json.loads((BOOK / "package.json").read_text(encoding="utf-8"))
    root = json.loads((BOOK / "package-lock.json").read_text(encoding="utf-8"))["packages"][""]
    assert root["dependencies"] == manifest["dependencies"]
    assert root["devDependencies"] == manifest["devDependencies"]
