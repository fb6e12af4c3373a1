"""Where the book's parts lie, and which pages it has."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from sphinx_external_toc.parsing import parse_toc_yaml

from fer_core.errors import UserError

EXECUTED = "book/notebooks"


@dataclass(frozen=True)
class Notebook:
    """One notebook of the book.

    Args:
        page: Its page's name, as the table of contents has it (``book/notebooks/start``).
        source: The clean notebook, relative to the root.
        executed: Its executed copy, from which the page is built, relative to the root.
    """

    page: str
    source: str
    executed: str


@dataclass(frozen=True)
class Layout:
    """The files of one book.

    Args:
        root: Folder that holds ``_config.yml``, ``book/`` and ``notebooks/``: Sphinx's source folder.
    """

    root: Path

    @property
    def toc(self) -> Path:
        """The table of contents."""
        return self.root / "book" / "_toc.yml"

    @property
    def generated(self) -> Path:
        """Parts of pages that the build writes; not under version control."""
        return self.root / "book" / "_generated"

    @property
    def work(self) -> Path:
        """Folder of everything unfinished, and of the finished ``html``."""
        return self.root / "_build"

    @property
    def html(self) -> Path:
        """The finished book."""
        return self.work / "html"

    @property
    def evidence(self) -> list[Path]:
        """What pages show: records of runs, methods they trained and what these say, benches, published numbers."""
        book = self.root / "book"
        kinds = (
            "records/**/*.json", "models/**/*.safetensors", "atlas/*.json", "atlas/*.safetensors", "benches/*.json",
            "published/*.csv",
        )  # fmt: skip
        return sorted(path for kind in kinds for path in book.glob(kind))

    @cached_property
    def pages(self) -> list[str]:
        """All pages in reading order, without suffix, relative to the root."""
        return list(parse_toc_yaml(self.toc))

    @property
    def notebooks(self) -> list[Notebook]:
        """The notebooks among the pages.

        Raises:
            UserError: If the table of contents lists one that is not in ``notebooks/``.
        """
        found = []
        for page in self.pages:
            if not page.startswith(f"{EXECUTED}/"):
                continue
            source = f"{page.removeprefix('book/')}.ipynb"
            if not (self.root / source).is_file():
                raise UserError(f"book/_toc.yml: expected {source} for the page {page}, found none; add or unlist it")
            found.append(Notebook(page, source, f"{page}.ipynb"))
        return found

    @cached_property
    def config(self) -> dict[str, Any]:
        """``_config.yml``."""
        return yaml.safe_load((self.root / "_config.yml").read_text(encoding="utf-8"))

    @property
    def repository(self) -> str | None:
        """The public repository's address; None while ``_config.yml`` names none."""
        return (self.config.get("repository") or {}).get("url") or None
