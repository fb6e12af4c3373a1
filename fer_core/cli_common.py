"""What the command lines share: exit codes, how a command is added, and mistakes told in one line."""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fer_core.errors import UserError

INTERRUPTED = 130
MISTAKE = 2
STOPPED = 75  # "try again later" of sysexits.h: the same command goes on

Call = Callable[[argparse.Namespace], int | None]
#: Makes a command's parser out of its name, what it calls, and what it does in words.
Command = Callable[[str, Call, str], argparse.ArgumentParser]


def add(within: Any, name: str, call: Call, text: str) -> argparse.ArgumentParser:
    """Adds a command with what all of them have: its help, what it calls, and ``--json``.

    Args:
        within: What ``add_subparsers`` gave.
        name: Of the command.
        call: Takes the arguments; gives the exit code, None for 0.
        text: What it does in words, as one begins within a sentence.

    Returns:
        The command's parser.
    """
    added = within.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(call=call)
    added.add_argument("--json", action="store_true", help="print JSON")
    return added


def print_json(value: Any) -> None:
    """Prints JSON; letters as they are where standard output is UTF-8."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(value, indent=1, ensure_ascii=plain))


def say_anything() -> None:
    """Lets standard output take letters that its encoding lacks, and names of files that are no text, as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def message(error: UserError | OSError) -> str:
    """A mistake in one line: its own, or one made of what the system says of a file or folder."""
    if isinstance(error, UserError):
        return str(error)
    where = error.filename or "a file"
    return (
        f"{where}: expected to read or write it, got: {error.strerror}; mend the path, its permissions or the space on "
        "its disk"
    )


@contextmanager
def mistakes_told(program: str) -> Iterator[None]:
    """Ends the program at a user's mistake with one line on standard error and exit code 2, as ``fer-core`` does.

    Args:
        program: What the line begins with.

    Raises:
        SystemExit: In place of a mistake.
    """
    try:
        yield
    except (UserError, OSError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise
        print(f"{program}: error: {message(error)}", file=sys.stderr)
        raise SystemExit(MISTAKE) from error
