"""The generated part of the data page: every data set, its layout and label codes, and what a check prints."""

import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from book import markup
from book.layout import Layout
from fer_core.data import check, check_report, demo, overview
from fer_core.data.labels import RELEASES
from fer_core.data.layout import LAYOUTS

_EXAMPLE = "raf-db"  # whose miniature is checked: it takes a second


def write(layout: Layout) -> None:
    """Writes ``book/_generated/data.md``, which ``book/data.md`` takes in.

    Args:
        layout: The book.
    """
    rows = overview.rows()
    parts = [
        "## Data sets\n",
        _sizes(rows),
        _licences([row for row in rows if not row["embedded"]]),
        "## Official layouts\n",
        _layouts(),
        "(label-codes)=\n## Label codes\n",
        _codes(),
        "## What a check prints\n",
        _check(),
    ]
    layout.generated.mkdir(parents=True, exist_ok=True)
    (layout.generated / "data.md").write_text("\n".join(parts), encoding="utf-8")


def _sizes(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        samples = ", ".join(f"{split} {count:,}" for split, count in row["samples"].items())
        command = "rendered on first use" if row["embedded"] else f"`fer-core data check {row['name']} FOLDER`"
        classes = f"{len(row['classes'])}: {', '.join(row['classes'])}"
        cells.append([f"`{row['name']}`", row["kind"], classes, samples or "not published by split", command])
    return markup.table("Data sets, their classes and sizes", ["Name", "Kind", "Classes", "Samples", "Command"], cells)


def _licences(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            f"`{row['name']}`",
            f"{_plain(row['title'])} {{cite:p}}`{row['citation']}`",
            _plain(row["licence"]),
            f"[{urlsplit(row['apply']).netloc}]({row['apply']})",
        ]
        for row in rows
    ]
    return markup.table("Licences, and where to apply", ["Name", "Data set", "Licence", "Where to apply"], cells)


def _layouts() -> str:
    # AffectNet with seven classes lies as with eight does: one tree for both.
    names: dict[str, list[str]] = {}
    for name, layout in LAYOUTS.items():
        names.setdefault(layout.tree, []).append(name)
    parts = []
    for tree, shared in names.items():
        folders = ", ".join(f"`{folder}`" for folder in LAYOUTS[shared[0]].folders)
        parts.append(f"### {', '.join(shared)}\n\nLooked for in the data root itself and in its folders {folders}.\n")
        parts.append(f"```text\n{tree.rstrip()}\n```\n")
    return "\n".join(parts)


def _codes() -> str:
    cells = []
    for name, release in RELEASES.items():
        told = [f"{code} {label}" if code != label else code for code, label in release.codes.items() if label]
        left_out = [code for code, label in release.codes.items() if label is None]
        codes = ", ".join(told) + (f"; left out: {', '.join(left_out)}" if left_out else "")
        cells.append([f"`{name}`", _plain(codes), _plain(release.source)])
    return markup.table("From releases' codes to class names", ["Release", "Codes", "Source"], cells)


def _plain(text: str) -> str:
    """The text with everything escaped that Markdown would read."""
    return re.sub(r"([\\`*_\[\]<>$|#~])", r"\\\1", text)


def _check() -> str:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "demo"
        demo.write(_EXAMPLE, root)
        text = check_report.to_text(check.check(_EXAMPLE, root)).replace(str(root.resolve()), "FOLDER")
    commands = f"`fer-core data demo {_EXAMPLE} FOLDER`, then `fer-core data check {_EXAMPLE} FOLDER`"
    return f"{commands}:\n\n```text\n{text}```\n"
