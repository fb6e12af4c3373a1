"""Runs the book's notebooks with papermill, several at once, each copy there whole or not at all."""

import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import torch
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from book import stamps
from book.layout import Layout, Notebook
from book.stamps import Inputs, Stamp
from fer_core import hardware
from fer_core.data import facs
from fer_core.errors import UserError
from fer_core.sweeps import deaf_children

CELL_TIMEOUT = 1800  # seconds; a cell of a page that is built live takes far less, so one that hangs ends the build
_START_TIMEOUT = 300  # seconds; on a busy machine a kernel's first imports can take more than papermill's minute
_HEARTBEAT = 60  # seconds between signs of life
_SOCKET_PATH = 80  # characters of a folder; the path of a socket in it holds 103
_FAREWELL = 15  # seconds in which a worker that is stopped ends


class NotebookError(UserError):
    """A notebook whose cell raised, hung, or lost its kernel."""


def execute_all(
    layout: Layout,
    profile: str,
    jobs: int,
    say: Callable[[str], None],
    force: bool = False,
    beside: Mapping[str, Callable[[], object]] | None = None,
) -> list[tuple[Notebook, Stamp]]:
    """Executes the notebooks whose copies are missing or stale.

    Args:
        layout: The book.
        profile: Given to each notebook's ``profile`` parameter.
        jobs: Notebooks at once; the processor's cores are shared among them.
        say: Takes lines of progress.
        force: Execute all notebooks.
        beside: Other long work by what it is, which begins first; functions that another process can import.

    Returns:
        The notebooks that ran, in the order in which they ended.

    Raises:
        NotebookError: If any failed, after all have ended; names each notebook and cell.
        UserError: Of the other work, or if a process was killed.
        KeyboardInterrupt: If Ctrl-C was pressed; what ran was ended, and what waited never began.
    """
    declared = {notebook: stamps.declared_data(layout, notebook) for notebook in layout.notebooks}
    used = sorted({name for names in declared.values() for name in names})
    data = stamps.fingerprints(used)
    waiting: dict[Notebook, Inputs] = {}
    for notebook, names in declared.items():
        now = stamps.inputs(layout, notebook, profile, {name: data[name] for name in sorted(names)})
        reason = stamps.stale(stamps.read(layout.root / notebook.executed), now)
        if reason or force:
            say(f"{notebook.source}: {reason or 'executed again, as asked'}")
            waiting[notebook] = now
        else:
            say(f"{notebook.source}: up to date")
    _render_shared([declared[notebook] for notebook in waiting], say)
    return _run(layout, waiting, beside or {}, jobs, say) if waiting or beside else []


def _render_shared(wanted: Sequence[Iterable[str]], say: Callable[[str], None]) -> None:
    """Renders what several notebooks will show: two that start at once would render the same faces twice."""
    counts = Counter(name for names in wanted for name in names)
    shared = sorted(name for name in facs.names() if counts[name] > 1)
    for name in shared:
        say(f"reading the test split of {name} (the first time takes a minute)")
        facs.Facs(name, "test")


def _run(
    layout: Layout,
    waiting: Mapping[Notebook, Inputs],
    beside: Mapping[str, Callable[[], object]],
    jobs: int,
    say: Callable[[str], None],
) -> list[tuple[Notebook, Stamp]]:
    workers = min(jobs, len(waiting) + len(beside))
    threads = max(1, hardware.describe()["cores"] // workers)
    done: list[tuple[Notebook, Stamp]] = []
    failed: list[str] = []
    with _pool(workers, threads) as pool:
        # Long ones first: one that began last would leave the other cores idle.
        order = sorted(waiting, key=lambda notebook: stamps.declared_seconds(layout, notebook), reverse=True)
        with deaf_children():
            others = {pool.submit(_apart, work): name for name, work in beside.items()}
            notebooks = {
                pool.submit(_apart, execute, layout.root, notebook, waiting[notebook], threads): notebook
                for notebook in order
            }
        names = {**others, **{future: notebook.source for future, notebook in notebooks.items()}}
        running: set[Future[Any]] = set(names)
        start = time.monotonic()
        while running:
            ended, running = wait(running, timeout=_HEARTBEAT, return_when=FIRST_COMPLETED)
            for future in ended:
                if isinstance(future.exception(), BrokenProcessPool):
                    raise UserError(
                        "expected processes that live until their notebooks end, got one that was killed (out of "
                        "memory?); run one notebook at a time: make book JOBS=1"
                    )
                if future in others:
                    error = future.exception()
                    say(f"failed: {names[future]}: {error}" if error else f"{names[future]}: made")
                    continue
                try:
                    stamp = future.result()
                except NotebookError as error:
                    failed.append(str(error))
                    say(f"failed: {error}")
                else:
                    done.append((notebooks[future], stamp))
                    say(f"{names[future]}: ran in {stamp.seconds:.0f} s ({len(done)} of {len(waiting)})")
            if not ended:
                left = ", ".join(name for future, name in names.items() if future in running)
                say(f"still running or waiting after {time.monotonic() - start:.0f} s: {left}")
    if failed:
        raise NotebookError("; ".join(failed))
    for future in others:
        future.result()
    return done


@contextmanager
def _pool(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end, as do their kernels, when the block ends early."""
    # Not forked: torch and the kernel client hold threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    with (
        # A worker that is ended leaves its temporary files behind.
        tempfile.TemporaryDirectory(prefix="fer-", ignore_cleanup_errors=True) as folder,
        ProcessPoolExecutor(workers, context, _begin, (threads, stopped, folder)) as pool,
    ):
        try:
            yield pool
        except BaseException:
            children = list(pool._processes.values())  # before the pool forgets them, and its thread
            manager: Any = pool._executor_manager_thread
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                if child.pid is not None:  # psutil takes none for this process itself
                    _kill_kernels(child.pid)  # one that nbclient asks to end may print a traceback on its way
                child.terminate()
            end = time.monotonic() + _FAREWELL
            for child in children:
                child.join(max(0.0, end - time.monotonic()))
                if child.is_alive():
                    child.kill()
            if manager is not None:  # Python, at its exit, may wake it while it closes, and then prints a traceback
                manager.join()
            raise


def _kill_kernels(worker: int) -> None:
    """Ends whatever a worker has begun."""
    try:
        below = psutil.Process(worker).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()


_stopped: Any = None  # of a worker: the event that says that the build ends


def _begin(threads: int, stopped: Any, folder: str) -> None:
    """Begins a worker."""
    global _stopped
    _stopped = stopped
    tempfile.tempdir = folder
    os.environ["OMP_NUM_THREADS"] = str(threads)  # kernels inherit it
    torch.set_num_threads(threads)


def _apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """Work in a worker, which takes no other once the build ends."""
    try:
        return work(*arguments)
    finally:
        if _stopped.is_set():
            os._exit(1)


def execute(root: Path, notebook: Notebook, now: Inputs, threads: int) -> Stamp:
    """Executes one notebook and puts its stamped copy in place.

    Args:
        root: The book's root.
        notebook: What to execute; it runs in its own folder, as in JupyterLab.
        now: What it is made from; goes into the stamp.
        threads: Threads that it may use, for the stamp.

    Raises:
        NotebookError: If it did not run to its end; its copy from before, if any, stays as it is.
    """
    source, target = root / notebook.source, root / notebook.executed
    unfinished = Layout(root).work / "executing" / target.name
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        with _sockets() as sockets:
            papermill.execute_notebook(
                str(source),
                str(unfinished),
                parameters={"profile": now.profile},
                kernel_name="python3",
                cwd=str(source.parent),
                progress_bar=False,
                start_timeout=_START_TIMEOUT,
                execution_timeout=CELL_TIMEOUT,
                extra_arguments=["--log-level=ERROR"],
                config=sockets,
            )
    except PapermillExecutionError as error:
        where, what = _cell(source, error.source), f"{error.ename}: {error.evalue}"
        raise NotebookError(_failure(notebook, f"{where} raised {what}", unfinished, root)) from None
    except CellTimeoutError:
        raise NotebookError(_failure(notebook, f"a cell took over {CELL_TIMEOUT} s", unfinished, root)) from None
    except DeadKernelError:
        raise NotebookError(_failure(notebook, "its kernel died (out of memory?)", unfinished, root)) from None
    except RuntimeError as error:  # before the first cell
        raise NotebookError(_failure(notebook, f"its kernel did not begin ({error})", unfinished, root)) from None
    copy = _clean(nbformat.read(unfinished, as_version=4))
    machine = {**hardware.describe("cuda" if torch.cuda.is_available() else "cpu"), "threads": threads}
    seconds = round(time.monotonic() - clock, 1)
    stamp = Stamp(now, started.strftime("%Y-%m-%dT%H:%M:%SZ"), seconds, machine, hardware.versions())
    stamps.attach(copy, stamp)
    nbformat.write(copy, unfinished)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished.replace(target)
    return stamp


@contextmanager
def _sockets() -> Iterator[Config]:
    """Has a kernel listen at files: ports are chosen before they are bound, and where two come to one a kernel dies."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        files = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        yield Config({"KernelManager": files if len(folder) < _SOCKET_PATH else {}})


def _failure(notebook: Notebook, what: str, unfinished: Path, root: Path) -> str:
    reason = " ".join(what.split())
    return f"{notebook.source}: {reason}; mend it (what ran so far: {unfinished.relative_to(root).as_posix()})"


def _cell(source: Path, code: str) -> str:
    """The cell's place in the clean notebook, counted from 1, and the line that it opens with."""
    cells = nbformat.read(source, as_version=4).cells
    place = next((position for position, cell in enumerate(cells, 1) if cell.source == code), None)
    first = code.strip().partition("\n")[0]
    return f"cell {place} ({first})" if place else f"a cell ({first})"


def _clean(copy: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The copy without papermill's notes, which name paths of this machine, and with injected parameters hidden."""
    copy.metadata.pop("papermill", None)
    for cell in copy.cells:
        cell.metadata.pop("papermill", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
    return copy
