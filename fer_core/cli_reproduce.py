"""The command ``fer-core reproduce``: runs of committed records, done again, and their drift."""

import argparse
import math

from fer_core.cli_common import Command, print_json
from fer_core.errors import UserError

BEYOND = 1  # the exit code where a score is off by more than the tolerance, or no run could be done


def add_command(command: Command) -> None:
    """Adds the command.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
    """
    added = command(
        "reproduce", _reproduce, "do the runs of records again and tell the drift (exit code 1: too far, or none done)"
    )
    names = "names of experiments, * stands for anything (default: all that have records)"
    added.add_argument("experiments", metavar="EXPERIMENT", nargs="*", help=names)
    added.add_argument("--sample", type=int, metavar="N", help="at most N records, spread over all")
    longest = "leave out runs that took longer when they were recorded"
    added.add_argument("--most-seconds", type=float, metavar="S", help=longest)
    added.add_argument("--tolerance", type=float, metavar="POINTS", help="of WAR and UAR (default: 1.5)")
    added.add_argument("--device", default="auto", help="auto (default), cpu, cuda")
    added.add_argument("--data-root", metavar="FOLDER", help="where licensed data lies (default: $FER_DATA_ROOT)")
    added.add_argument("--records", metavar="DIR", help="where records lie (default: book/records)")
    added.add_argument("--quiet", action="store_true", help="show no progress")


def _reproduce(arguments: argparse.Namespace) -> int | None:
    from fer_core import reproducing

    chosen = reproducing.choose(
        arguments.experiments, folder=arguments.records, sample=arguments.sample, most_seconds=arguments.most_seconds
    )
    tolerance = reproducing.TOLERANCE if arguments.tolerance is None else arguments.tolerance
    if not 0 <= tolerance < math.inf:
        raise UserError(f"tolerance: expected points of 0 or more, got {tolerance}; 1.5 is the default")
    rows, far = [], 0
    for drift in reproducing.again(
        chosen, device=arguments.device, data_root=arguments.data_root, progress=not arguments.quiet
    ):
        row = drift.row()
        rows.append(row)
        beyond = drift.beyond(tolerance)
        far += beyond
        if arguments.json:
            continue
        if drift.again is None:
            print(f"not done   {row['record']}: {drift.why}", flush=True)
            continue
        # What decides is the score that is off by more, be it WAR or UAR.
        first, second = drift.record.metrics[drift.worst], drift.again.metrics[drift.worst]
        same = "the same to the last digit" if row["same"] else f"off by {drift.points(drift.worst):+.2f} points"
        agreed = "" if row["agreement"] is None else f", {row['agreement']:.2f} % of predictions alike"
        scores = f"{drift.worst.upper()} {100 * first:.2f}, again {100 * second:.2f}"
        print(f"{'TOO FAR' if beyond else 'held':10} {row['record']}: {scores}: {same}{agreed}", flush=True)
    done = [row for row in rows if row["again"] is not None]
    if arguments.json:
        print_json(rows)
    else:
        exactly = sum(bool(row["same"]) for row in done)
        ends = f"{exactly} the same to the last digit, {far} beyond {tolerance:g} points"
        print(f"{len(done)} of {len(rows)} runs done, {ends}")
    return BEYOND if far or not done else None
