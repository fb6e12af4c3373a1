"""Two that work in a checkout's folders at once, builds or tests, take turns, and nobody waits for oneself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from book.alone import alone
from book.layout import Layout

ROOT = Path(__file__).parents[2]

# Stands for npm and for the models: notes that it was called, and waits until it may go on, but not for ever.
BEGIN = """\
import subprocess, sys, time
from pathlib import Path
from book import alone, assets
from book.layout import Layout

layout = Layout(Path.cwd())

def note(line, done=None):
    with open("calls", "a") as file:
        file.write(line + "\\n")
    end = time.monotonic() + 240
    while not Path("go").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return done

assets.npm = lambda *_, **__: note("npm", subprocess.CompletedProcess([], 0, stdout=""))
assets._vendored = assets._icons = lambda *_: [(assets.axe(layout), layout.root / "book/assets/vendor/axe")]
"""
FETCH = "print(assets.fetch(layout))"
WRITE = """\
from book import live
live.clip.load = live.studio_graphs.trained_methods = lambda *_: None
live.studio_graphs.write = lambda *_: note("models", ())
live._PARTS = {}
print(live.write(layout))
"""


@pytest.fixture
def layout(tmp_path):
    for name in ("package.json", "package-lock.json"):
        (tmp_path / "book").mkdir(exist_ok=True)
        (tmp_path / "book" / name).write_text("{}")
    checker = tmp_path / "book/node_modules/axe-core/axe.min.js"
    checker.parent.mkdir(parents=True)
    checker.touch()
    return Layout(tmp_path)


@pytest.fixture
def begun(layout):
    """Begins processes in the book's folder."""
    processes = []

    def begin(code):
        command = [sys.executable, "-u", "-c", f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{BEGIN}{code}"]
        processes.append(subprocess.Popen(command, cwd=layout.root, text=True, stdout=subprocess.PIPE))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def _wait_for(path):
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("code", "called"), [(FETCH, "npm"), (WRITE, "models")], ids=["fetch", "write"])
def test_files_are_made_by_one_of_two(layout, begun, code, called):
    first = begun(code)
    _wait_for(layout.root / "calls")
    second = begun(code)
    assert second.stdout.readline().startswith("book: waiting for another build, or for tests, to end")
    (layout.root / "go").touch()
    told = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert told == (["True\n", "False\n"] if called == "npm" else ["None\n", "None\n"])
    assert (layout.root / "calls").read_text() == f"{called}\n"


def test_a_build_waits_for_another_and_goes_on_when_that_was_killed(layout, begun):
    first = begun("with alone.alone(layout): note('a build')")
    _wait_for(layout.root / "calls")
    second = begun(
        "from book import build\n"
        "def stop(layout): raise build.UserError('its turn came')\n"
        "assets.fetch, sys.stderr = stop, sys.stdout\n"
        "build.main([])"
    )
    assert second.stdout.readline().startswith("book: waiting for another build, or for tests, to end")
    first.kill()
    assert second.communicate(timeout=120)[0] == "book: error: its turn came\n"


def test_who_has_the_turn_has_it_in_all_its_processes(layout, begun):
    (layout.root / "go").touch()
    with alone(layout), alone(layout):
        told = begun(f"{FETCH}\n{WRITE}").communicate(timeout=120)[0]
    assert told == "True\nNone\n"
    assert (layout.root / "calls").read_text() == "npm\nmodels\n"
    waiting = begun("with alone.alone(layout): print('free')")
    assert waiting.communicate(timeout=120)[0] == "free\n"
