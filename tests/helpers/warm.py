"""Processes of their own whose start takes no seconds: forked from one that has imported everything and run nothing."""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["fer_core.engine", "fer_core.models", "torch.distributed.fsdp"])


class Started:
    """A script that runs in a process of its own.

    Args:
        script: The file.
        line: Its arguments.
        environment: Its whole environment. Of what is read when torch is imported, that of the test counts.
        output: Gets what it prints and what it fails with.
    """

    def __init__(self, script: Path, line: list[str], environment: Mapping[str, str], output: Path) -> None:
        self.output = output
        output.touch()
        arguments = (str(script), line, dict(environment), str(output))
        self._process = _CONTEXT.Process(target=_run, args=arguments)
        self._process.start()

    @property
    def told(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.exitcode is not None

    def send(self, number: int) -> None:
        """Sends a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        if not self.over:
            self.send(signal.SIGKILL)
        self._process.join()

    def wait(self, seconds: float) -> int:
        """Its exit status, once it has ended; minus the number of the signal that ended it."""
        self._process.join(seconds)
        code = self._process.exitcode
        assert code is not None, f"still running after {seconds} s: {self.told[-3000:]}"
        return code


def together(count: int, script: Path, line: list[str], environment: Mapping[str, str], folder: Path) -> list[Started]:
    """Starts the processes of one distributed run on this machine, as torchrun does.

    Args:
        count: How many.
        script: As of :class:`Started`.
        line: As of :class:`Started`.
        environment: As of :class:`Started`.
        folder: Gets what each prints.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    whole = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(count):
        own = {**whole, "RANK": rank, "LOCAL_RANK": rank}
        named = {**environment, **{name: str(value) for name, value in own.items()}}
        started.append(Started(script, line, named, folder / f"told-{rank}.txt"))
    return started


def _run(script: str, line: list[str], environment: dict[str, str], output: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for place in (1, 2):
        os.dup2(file, place)
    sys.argv = [script, *line]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")
