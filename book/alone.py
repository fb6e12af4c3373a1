"""One at a time: builds, and tests beside them, work in the same folders of a checkout."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from book.layout import Layout

_HELD = "FER_BOOK_HELD"  # locks that this process holds, or one that began it


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Waits until nobody else makes files of a book, which is said, and lets others wait until the block ends.

    Within the block it may be entered again, here and in processes that are begun there.

    Args:
        layout: The book; its lock is ``_build/lock``.
    """
    path = (layout.work / "lock").absolute()
    before = os.environ.get(_HELD, "")
    if str(path) in before.split(os.pathsep):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("book: waiting for another build, or for tests, to end: they work in the same folders", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        os.environ[_HELD] = f"{before}{os.pathsep}{path}"
        try:
            yield
        finally:
            os.environ[_HELD] = before
