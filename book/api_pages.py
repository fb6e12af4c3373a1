"""The pages of the library's reference: one a room, each a list of modules that Sphinx's autodoc reads.

Only names stand in what is written here; signatures and docstrings are read from the modules when Sphinx runs, as
:mod:`book.api_reference` sets it up.
"""

import ast
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path

import fer_core
from book.layout import Layout
from fer_core.errors import UserError

FOLDER = "book/api"
_PACKAGE = Path(fer_core.__file__).parent
# Private modules; and the command line, whose --help tells of it.
_LEFT_OUT = re.compile(r"_|(cli|bench)(_|$)")


@dataclass(frozen=True)
class Room:
    """One page of the reference.

    Args:
        name: Of the page's file.
        title: Of the page.
        modules: Modules and packages at the top of ``fer_core``; a package brings everything in it.
    """

    name: str
    title: str
    modules: tuple[str, ...]

    @property
    def page(self) -> str:
        """The page's name, as the table of contents has it."""
        return f"{FOLDER}/{self.name}"


ROOMS = (
    Room("foundations", "Batches, configs and errors", ("batch", "config", "errors", "folders", "atomic")),
    Room("clip", "CLIP", ("clip", "clip_towers", "clip_weights")),
    Room("embedded", "The embedded CLIP", ("embedded",)),
    Room("faces", "Rendered faces", ("faces",)),
    Room("data", "Data sets", ("data",)),
    Room("descriptions", "Descriptions by language models", ("descriptions",)),
    Room("prompts", "Prompt texts", ("prompts",)),
    Room("losses", "Losses", ("losses",)),
    Room("layers", "Layers", ("layers",)),
    Room("models", "Methods", ("models", "method_facts")),
    Room("adapt", "Test-time methods", ("adapt",)),
    Room("engine", "Training and evaluation", ("engine",)),
    Room("experiments", "Experiments", ("experiments", "sweep_jobs", "sweeps")),
    Room("predicting", "Prediction and export", ("predicting", "exporting")),
    Room("measures", "Metrics and comparisons", ("metrics", "metrics_subjects", "comparing", "inside")),
    Room("entanglement", "Semantic entanglement", ("entanglement", "atlas")),
    Room("records", "Records of runs", ("records", "reproducing", "hardware", "flops")),
    Room(
        "tables",
        "Tables",
        (
            "published",
            "tables",
            "table_definitions",
            "table_columns",
            "table_contents",
            "table_contents_clips",
            "table_published",
            "table_formats",
        ),
    ),
    Room(
        "plots",
        "Figures",
        (
            "plots",
            "plots_records",
            "plots_faces",
            "plots_people",
            "plots_inside",
            "plots_atlas",
            "plots_diagrams",
            "describe",
        ),
    ),
    Room("widgets", "Widgets", ("widgets",)),
)


def write(layout: Layout) -> None:
    """Writes the pages that the table of contents lists, and the list of them that ``book/api.md`` takes in.

    Args:
        layout: The book.

    Raises:
        UserError: If a module is in no room, or a room names one that is not there.
    """
    for page, text in _texts(layout).items():
        path = _path(layout, page)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    layout.generated.mkdir(parents=True, exist_ok=True)
    (layout.generated / "api.md").write_text(_contents(), encoding="utf-8")


def stale(layout: Layout) -> dict[str, str]:
    """Pages of the reference that do not list what the library holds now, with the reason.

    Args:
        layout: The book.

    Raises:
        UserError: If a module is in no room, or a room names one that is not there.
    """
    found = {}
    for page, text in _texts(layout).items():
        path = _path(layout, page)
        if not path.is_file():
            found[page] = "it has not been written"
        elif path.read_text(encoding="utf-8") != text:
            found[page] = "changed since it was written: modules"
    return found


def modules() -> dict[Room, list[str]]:
    """The full names of all modules of the reference by room, a package before what is in it.

    Raises:
        UserError: If a module is in no room, or a room names one that is not there.
    """
    top = sorted(name for name, _ in _inside(_PACKAGE))
    placed = sorted(name for room in ROOMS for name in room.modules)
    if placed != top:
        differing = ", ".join(sorted(set(placed) ^ set(top)) or [name for name in top if placed.count(name) > 1])
        raise UserError(f"expected each module of fer_core in one of book.api_pages.ROOMS, got {differing}; mend it")
    below = {name: _below(_PACKAGE / name, name) if package else [name] for name, package in _inside(_PACKAGE)}
    return {room: [f"fer_core.{each}" for name in room.modules for each in below[name]] for room in ROOMS}


def _below(folder: Path, name: str) -> list[str]:
    found = [name]
    for inner, package in _inside(folder):
        full = f"{name}.{inner}"
        found += _below(folder / inner, full) if package else [full]
    return found


def _inside(folder: Path) -> list[tuple[str, bool]]:
    """Public modules in a package's folder, found without importing them: names, and whether each is a package."""
    return [(each.name, each.ispkg) for each in pkgutil.iter_modules([str(folder)]) if not _LEFT_OUT.match(each.name)]


def _path(layout: Layout, page: str) -> Path:
    return layout.root / f"{page}.rst"


def _texts(layout: Layout) -> dict[str, str]:
    """What stands on each page that the table of contents lists."""
    return {room.page: _text(room, names) for room, names in modules().items() if room.page in layout.pages}


def _text(room: Room, names: list[str]) -> str:
    lines = [room.title, "=" * len(room.title), "", ".. highlight:: none", ""]
    if len(room.modules) == 1:
        # The package, or the one module, tells what the page is about.
        first, *names = names
        lines += [f".. automodule:: {first}", ""]
    lines += [f"- :mod:`~{name}`: {_summary(name)}" for name in names]
    for name in names:
        lines += ["", name, "-" * len(name), "", f".. automodule:: {name}"]
    return "\n".join(lines) + "\n"


def _summary(name: str) -> str:
    """The first paragraph of a module's docstring."""
    path = _PACKAGE.parent.joinpath(*name.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    told = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(told.split("\n\n")[0].split())


def _contents() -> str:
    lines = []
    for room in ROOMS:
        names = ", ".join(f"`fer_core.{name}`" for name in room.modules)
        lines.append(f"- {{doc}}`{room.title} <{room.page.removeprefix('book/')}>`: {names}")
    return "\n".join(lines) + "\n"
