"""Builds the book: ``python -m book.build``, from the root of a checkout.

Browser files are fetched, notebooks executed where they are stale, generated pages written, and Sphinx run through
jupyter-book with warnings as errors. The book in ``_build/html`` is replaced only by one that was built to its end.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from book import api_pages, assets, data_page, execution, front, live, matrix, status
from book.alone import alone
from book.layout import Layout
from fer_core.cli_common import INTERRUPTED, MISTAKE, STOPPED
from fer_core.errors import Stopped, UserError
from fer_core.experiments import PROFILES
from fer_core.sweeps import stoppable


def build(layout: Layout, profile: str = "quick", jobs: int = 2, force: bool = False) -> Path:
    """Builds the book; another build or test that works in its folders is waited for.

    Args:
        layout: The book.
        profile: What its notebooks run.
        jobs: Notebooks at once.
        force: Execute all notebooks, stale or not.

    Returns:
        The book's first page.

    Raises:
        UserError: If a notebook fails, browser files cannot be had, or Sphinx finds anything to warn of.
        KeyboardInterrupt: If Ctrl-C was pressed; nothing goes on running.
    """
    with alone(layout):
        clock = _Clock()
        fetched = assets.fetch(layout)
        clock.lap("browser files" if fetched else "browser files (there already)")
        # No notebook needs the models; pages do, when they are opened.
        beside = {} if live.are_there(layout) else {"models for pages": partial(live.write, layout)}
        execution.execute_all(layout, profile, jobs, clock.say, force, beside)
        clock.lap("notebooks")
        status.write(layout)
        data_page.write(layout)
        front.write(layout)
        matrix.write(layout)
        api_pages.write(layout)
        clock.lap("generated pages")
        sphinx(layout)
        clock.lap("Sphinx")
    return layout.html / "index.html"


def sphinx(layout: Layout) -> None:
    """Builds the pages from executed notebooks, without network.

    Everything is read anew each time: Sphinx warns only of what it reads, so a page kept from a build that failed would
    pass in the next.

    Raises:
        UserError: If there was a warning or an error.
    """
    project = Path(__file__).resolve().parents[1]
    unfinished = layout.work / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    # The extension is found by the path of this package, also where the book lies elsewhere, as in tests.
    python_path = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")]))
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(layout.root)]
    where = ["--toc", str(layout.toc), "--path-output", str(unfinished)]
    done = subprocess.run(
        [*command, *where, "-W", "-n", "--keep-going", "--all", "-q"],
        env={**os.environ, "PYTHONPATH": python_path},
        stdout=subprocess.PIPE,  # where the unfinished book lies; warnings go to standard error
        check=False,
    )
    if done.returncode:
        raise UserError("expected pages without a warning, got those above; mend them (the book of before is kept)")
    for source_map in (unfinished / "_build" / "html" / "_static").rglob("*.map"):
        source_map.unlink()  # megabytes that only those read who work on the theme
    old = layout.work / "replaced"
    shutil.rmtree(old, ignore_errors=True)
    if layout.html.exists():
        layout.html.rename(old)
    (unfinished / "_build" / "html").rename(layout.html)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(unfinished)


class _Clock:
    """Prints each step with its time."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def say(self, line: str) -> None:
        print(f"book: {line}", flush=True)

    def lap(self, step: str) -> None:
        now = time.monotonic()
        self.say(f"{step}: {now - self.last:.1f} s")
        self.last = now


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m book.build", description="Builds the book into _build/html.")
    parser.add_argument("--profile", default="quick", choices=PROFILES, help="what the notebooks run (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at once (%(default)s)")
    parser.add_argument("--force", action="store_true", help="execute all notebooks, stale or not")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"expected at least 1 job, got {options.jobs}")
    goes_on = "the same command runs what is left (the book of before is kept)"
    try:
        with stoppable(goes_on):
            first = build(Layout(Path.cwd()), options.profile, options.jobs, options.force)
    except UserError as error:
        print(f"book: error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print(f"book: interrupted; {goes_on}", file=sys.stderr)
        return INTERRUPTED
    except Stopped as stopped:
        print(f"book: {stopped}", file=sys.stderr)
        return STOPPED
    print(f"book: open {first.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
