"""Mistakes that a user can mend.

Every message is one line: what was expected, what came, what to do. The command line prints it without a
traceback and exits with 2, as it does with what the system says of a file or folder (``OSError``); any other exception
is a fault of the library and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches

#: Signals that ask a run to stop. SLURM sends SIGTERM before it kills, and another where a job asks for it
#: (``--signal=USR1@120``; submitit asks for USR2).
STOPS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")


class UserError(ValueError):
    """A wrong name, path, file or setting, told in one line that says what to do."""


class NoRoomError(UserError):
    """A folder that cannot hold what was to be kept there; work can go on without."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones.

    Args:
        kind: What the name stands for, in the singular ("data set", "setting of CoOp").
        name: The name that came.
        known: All names that would have been right.

    Returns:
        The error, to be raised; it suggests the nearest known name, or lists all of them.
    """
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}."
    return UserError(f"unknown {kind} {str(name)!r}; {hint}")


class Stopped(Exception):  # noqa: N818 - not an error: the run goes on at the next start
    """Training stopped because it was asked to, after it had written its checkpoint.

    Args:
        message: Where it stands and how it goes on.
        by: Name of the signal.
    """

    def __init__(self, message: str, by: str) -> None:
        super().__init__(message, by)  # all of them, so that it can travel between processes
        self.by = by

    def __str__(self) -> str:
        return self.args[0]
