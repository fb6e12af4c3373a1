"""Notebooks run in processes of their own; a failing one is named, and leaves nothing half written."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import nbformat
import pytest

from book import execution, stamps
from book.execution import NotebookError, execute_all
from fer_core import experiments
from fer_core.errors import UserError

pytestmark = pytest.mark.book


@pytest.fixture(scope="module")
def book(tmp_path_factory, write_notebook, write_book):
    """A chapter that runs, and one that ran once and then broke."""
    root = tmp_path_factory.mktemp("book")
    write_notebook(root / "notebooks" / "good.ipynb", ('import os\nprint(profile, os.environ["OMP_NUM_THREADS"])', {}))
    write_notebook(root / "notebooks" / "bad.ipynb", ("print(1)", {}))
    return write_book(root, ["good", "bad"])


@pytest.fixture(scope="module")
def story(book, write_notebook):
    """What the build said: at first, with nothing to do, and with one chapter broken."""
    said = {"first": [], "again": [], "broken": []}
    execute_all(book, "smoke", 2, said["first"].append)
    assert execute_all(book, "smoke", 2, said["again"].append) == []
    write_notebook(book.root / "notebooks" / "bad.ipynb", "Some text.", ("value = 1\nvalue / 0", {}))
    with pytest.raises(NotebookError) as raised:
        execute_all(book, "smoke", 2, said["broken"].append)
    return said | {"error": str(raised.value)}


def test_notebooks_run_once(story):
    assert story["first"][:2] == [f"notebooks/{name}.ipynb: it has not been executed" for name in ("good", "bad")]
    assert story["again"] == [f"notebooks/{name}.ipynb: up to date" for name in ("good", "bad")]


def test_only_the_changed_notebook_runs_again(story):
    assert story["broken"][:2] == [
        "notebooks/good.ipynb: up to date",
        "notebooks/bad.ipynb: changed since it ran: source",
    ]


def test_a_failing_notebook_is_named_with_its_cell_and_reason(story):
    assert story["error"].startswith(
        "notebooks/bad.ipynb: cell 4 (value = 1) raised ZeroDivisionError: division by zero"
    )
    assert "\n" not in story["error"]


def test_a_failure_leaves_the_copy_of_before(story, book):
    good, bad = book.notebooks
    left = nbformat.read(book.root / bad.executed, as_version=4)
    assert [cell.source for cell in left.cells if cell.cell_type == "code"][-1] == "print(1)"
    assert stamps.stale_pages(book) == {bad.page: "changed since it ran: source"}
    assert stamps.read(book.root / good.executed).inputs.profile == "smoke"


def test_the_copy_carries_its_output_and_no_path(story, book):
    copy = nbformat.read(book.root / book.notebooks[0].executed, as_version=4)
    # Two at once share the cores; the parameters of the run replace those of the source.
    cores = copy.metadata["fer_core"]["hardware"]["cores"]
    assert copy.cells[-1].outputs[0].text == f"smoke {max(1, cores // 2)}\n"
    assert str(book.root) not in nbformat.writes(copy)


def test_injected_parameters_are_hidden(story, book):
    copy = nbformat.read(book.root / book.notebooks[0].executed, as_version=4)
    hidden = [cell.source for cell in copy.cells if "remove-cell" in cell.metadata.get("tags", [])]
    assert len(hidden) == 1
    assert 'profile = "smoke"' in hidden[0]


def test_long_notebooks_begin_first_and_other_work_beside_them(tmp_path, write_notebook, write_book):
    for name, seconds in (("short", 1), ("long", 200), ("unknown", None)):
        declared = {} if seconds is None else {"fer_core": {"seconds": seconds}}
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", ("print(1)", {}), **declared)
    layout, said = write_book(tmp_path, ["short", "unknown", "long"]), []
    ordered = [f"notebooks/{name}.ipynb" for name in ("long", "short", "unknown")]
    made = execute_all(
        layout, "smoke", 1, said.append, beside={"a model": partial(Path.write_text, tmp_path / "made", "whole")}
    )
    assert [notebook.source for notebook, _ in made] == ordered
    assert said[3:] == ["a model: made", *(line for line in said if ": ran in" in line)]
    assert (tmp_path / "made").read_text() == "whole"
    with pytest.raises(UserError, match="unknown experiment 'none'"):
        execute_all(layout, "smoke", 1, said.append, beside={"another": partial(experiments.load, "none")})
    assert said[-1].startswith("failed: another: unknown experiment 'none'")


# As in the foreground: a shell's background jobs, and all that they begin, ignore Ctrl-C.
BUILD = """\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from book import build
build.assets.fetch = lambda layout: False
build.live.are_there = lambda layout: True
sys.exit(build.main(["--profile", "smoke", "--jobs", "2"]))
"""


@pytest.fixture
def begun():
    """Begins a build of a small book in a process group of its own, without its browser files."""
    processes = []

    def begin(root, **environment):
        environment = {**os.environ, "PYTHONPATH": str(Path(stamps.__file__).parents[1]), **environment}
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD], cwd=root, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


SLEEP = """\
import os, pathlib, time
pathlib.Path("{}.pid").write_text(str(os.getpid()))
time.sleep(600)"""


def _started(root):
    """The processes of kernels that came to sleep."""
    return [int(text) for path in (root / "notebooks").glob("*.pid") if (text := path.read_text())]


PATIENCE = 300  # seconds; nothing here should take many, but a shared machine was seen to stall for two minutes


def _sleeping(root, build, count):
    """Waits until so many kernels sleep."""
    end = time.monotonic() + PATIENCE
    while len(_started(root)) != count:
        if build.poll() is not None:
            pytest.fail(f"the build ended before {count} kernels slept: {build.communicate()}")
        assert time.monotonic() < end, f"{_started(root)} sleep"
        time.sleep(0.1)


def _gone(numbers):
    end = time.monotonic() + 5
    while any(Path(f"/proc/{number}").exists() for number in numbers):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("end", "code", "how"),
    [
        (lambda pid: os.killpg(pid, signal.SIGINT), 130, "interrupted"),  # as a terminal does
        (lambda pid: os.kill(pid, signal.SIGTERM), 75, "stopped by SIGTERM"),  # as a cluster does, or a service
    ],
    ids=["ctrl-c", "sigterm"],
)
def test_asked_to_end_the_build_ends_its_kernels_at_once(tmp_path, write_notebook, write_book, begun, end, code, how):
    names = ["one", "two", "three", "four"]
    for name in names:
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", (SLEEP.format(name), {}))
    write_book(tmp_path, names)
    build = begun(tmp_path)
    _sleeping(tmp_path, build, 2)
    end(build.pid)
    _, told = build.communicate(timeout=PATIENCE)
    assert build.returncode == code
    assert told == f"book: {how}; the same command runs what is left (the book of before is kept)\n"
    assert len(_started(tmp_path)) == 2
    _gone(_started(tmp_path))


def test_kernels_listen_at_files_of_which_none_is_left(tmp_path, write_notebook, write_book, begun):
    """A port may be taken between the moment that it is chosen and the one that it is bound: kernels died of it."""
    write_notebook(tmp_path / "notebooks" / "one.ipynb", (SLEEP.format("one"), {}))
    write_book(tmp_path, ["one"])
    with tempfile.TemporaryDirectory() as folder:  # short: the path of a socket holds about 100 characters
        build = begun(tmp_path, TMPDIR=folder)
        _sleeping(tmp_path, build, 1)
        (told,) = Path(folder).rglob("kernel.json")
        assert json.loads(told.read_text())["transport"] == "ipc"
        assert sum(path.is_socket() for path in told.parent.iterdir()) == 5  # shell, iopub, stdin, control, heartbeat
        os.kill(build.pid, signal.SIGTERM)
        build.communicate(timeout=PATIENCE)
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize(("folder", "transport"), [("", "ipc"), ("long" * 20, None)])
def test_a_kernel_listens_at_ports_where_paths_are_too_long(folder, transport, monkeypatch):
    with tempfile.TemporaryDirectory() as short:
        (Path(short) / folder).mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(Path(short) / folder))
        with execution._sockets() as config:
            assert config["KernelManager"].get("transport") == transport


def test_a_kernel_that_does_not_begin_is_told(tmp_path, write_notebook, write_book, monkeypatch):
    write_notebook(tmp_path / "notebooks" / "one.ipynb", ("print(1)", {}))
    layout = write_book(tmp_path, ["one"])
    (notebook,) = layout.notebooks

    def dies(*_, **__):
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(execution.papermill, "execute_notebook", dies)
    told = r"notebooks/one.ipynb: its kernel did not begin \(Kernel died before replying to kernel_info\); mend it"
    with pytest.raises(NotebookError, match=told):
        execution.execute(tmp_path, notebook, stamps.inputs(layout, notebook, "smoke", {}), 1)


def test_a_worker_that_is_killed_is_told_in_one_line(tmp_path, write_notebook, write_book, begun):
    wait = "import os, pathlib, time\nwhile not pathlib.Path('long.pid').exists():\n    time.sleep(0.1)\n"
    write_notebook(tmp_path / "notebooks" / "large.ipynb", (wait + "os.kill(os.getppid(), 9)", {}))
    for name in ("long", "later"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", (SLEEP.format(name), {}))
    write_book(tmp_path, ["large", "long", "later"])
    build = begun(tmp_path)
    _, told = build.communicate(timeout=PATIENCE)
    assert build.returncode == 2
    (line,) = told.splitlines()
    assert line.startswith(
        "book: error: expected processes that live until their notebooks end, got one that was killed"
    )
    assert line.endswith("make book JOBS=1")
    assert len(_started(tmp_path)) == 1
    _gone(_started(tmp_path))
