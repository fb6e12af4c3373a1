"""Being asked to stop: by a cluster that needs the node, or by a person."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fer_core.errors import STOPS, Stopped


class Preemption:
    """While it is entered, a signal is noted instead of ending the process; a second Ctrl-C interrupts at once.

    Outside of the main thread, where Python lets nobody listen to signals, it notes nothing.

    Attributes:
        by: Name of the signal that came, or an empty string.
    """

    def __init__(self) -> None:
        self.by = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            for name in STOPS:
                number = getattr(signal, name, None)  # Windows has no SIGUSR1
                if number is not None:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == self.by == "SIGINT":
            raise KeyboardInterrupt
        self.by = name


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """Signals become :class:`Stopped`: by themselves they would end this process, and leave its children at work.

    Ctrl-C is a KeyboardInterrupt already. A :class:`Preemption` within takes signals first.

    Args:
        advice: What to do to go on; ends the message.
    """

    def stop(number: int, _: Any) -> None:
        name = signal.Signals(number).name
        raise Stopped(f"stopped by {name}; {advice}", name)

    ours = threading.current_thread() is threading.main_thread()  # others may not handle signals
    heard = [getattr(signal, name) for name in STOPS if name != "SIGINT" and hasattr(signal, name)] if ours else []
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
