"""The command ``fer-core sweep``: many runs, here or on a cluster, and a table of what came of them."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_core.cli_common import Command, print_json
from fer_core.errors import UserError

FAILURES = 1  # the exit code where a run failed


def add_command(command: Command, whole_numbers: Callable[[str], list[int]]) -> None:
    """Adds the command.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
        whole_numbers: Reads ``0,1,2``.
    """
    sweep = command("sweep", _sweep, "run a grid of experiments, seeds, folds and settings, and gather the scores")
    sweep.add_argument("experiments", metavar="EXPERIMENT", nargs="*", help="names; * stands for anything: 'coop-*'")
    sweep.add_argument("--profile", default="quick", help="smoke, quick (default), full or paper")
    sweep.add_argument("--seed", "--seeds", type=whole_numbers, default=[0], metavar="N[,N...]", help="(default: 0)")
    sweep.add_argument("--fold", "--folds", type=whole_numbers, default=[], metavar="N[,N...]", help="folds, if any")
    values = "values to try for a setting, such as training.lr=[1e-3,1e-4]; may be repeated"
    sweep.add_argument("--grid", action="append", default=[], metavar="KEY=[V,V...]", help=values)
    sweep.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all runs")
    ablation = "run the rows of the experiments' ablations, these or all of the profile (most are of full)"
    sweep.add_argument("--ablation", action="append", default=[], metavar="NAME", help=ablation)
    shown_in = "run what fills the rows of a table; * stands for anything; EXPERIMENTs choose among its runs"
    sweep.add_argument("--table", action="append", default=[], metavar="NAME", help=shown_in)
    sweep.add_argument("--at-once", type=int, default=1, metavar="N", help="runs at a time on this machine; a "
                       "cluster takes --parameter slurm_array_parallelism=N")  # fmt: skip
    sweep.add_argument("--device", default="auto", help="auto (default), cpu, cuda")
    sweep.add_argument("--data-root", metavar="FOLDER", help="where licensed data lies (default: $FER_DATA_ROOT)")
    sweep.add_argument("--records", metavar="DIR", help="where to write (default: book/records)")
    sweep.add_argument("--force", action="store_true", help="run even where records are there")
    by = (
        "test what another run has kept in all of them, instead of training the same again: its file, or its experiment"
    )
    sweep.add_argument("--trained-by", metavar="KEPT", help=by)
    sweep.add_argument("--dry-run", action="store_true", help="list the runs and end")
    sweep.add_argument("--cluster", choices=("slurm", "local"), help="submit the runs through submitit, and end")
    parameter = "a parameter of submitit, such as timeout_min=120 or slurm_partition=gpu; may be repeated"
    sweep.add_argument("--parameter", action="append", default=[], metavar="KEY=VALUE", help=parameter)
    folder = "folder of the cluster's files and logs (default: sweeps)"
    sweep.add_argument("--folder", default="sweeps", metavar="DIR", help=folder)
    sweep.add_argument("--wait", action="store_true", help="with --cluster: wait for the runs and print the table")


def _sweep(arguments: argparse.Namespace) -> int | None:
    from fer_core import experiments, sweep_jobs, sweeps

    if not arguments.cluster and (arguments.wait or arguments.parameter):
        raise UserError("--wait and --parameter: expected --cluster with them, got none; add it or drop them")
    if arguments.cluster and arguments.at_once != 1:
        raise UserError(
            f"--at-once: expected runs on this machine, got --cluster {arguments.cluster}; drop it, or say "
            f"--parameter slurm_array_parallelism={arguments.at_once}"
        )
    varied = experiments.parse_overrides(arguments.grid, "--grid")
    wrong = next((key for key, values in varied.items() if not isinstance(values, list) or not values), None)
    if wrong is not None:
        raise UserError(f"--grid: expected a list of values for {wrong}, got {varied[wrong]!r}; write {wrong}=[A,B]")
    common = experiments.parse_overrides(arguments.set)
    jobs = sweep_jobs.grid(
        arguments.experiments, arguments.profile, arguments.seed, arguments.fold, varied, common, arguments.ablation,
        arguments.table,
    )  # fmt: skip
    if arguments.dry_run:
        if arguments.json:
            print_json([job.__dict__ for job in jobs])
        else:
            print("\n".join(map(str, jobs)))
        return None
    options = sweeps.Options(
        arguments.device,
        arguments.data_root,
        arguments.records,
        arguments.force,
        arguments.at_once,
        arguments.trained_by,
    )
    if arguments.cluster:
        parameters = experiments.parse_overrides(arguments.parameter, "--parameter")
        submitted = sweeps.submit(jobs, options, Path(arguments.folder), parameters, arguments.cluster)
        print(f"submitted {len(submitted)} runs: {', '.join(job.job_id for job in submitted)}", file=sys.stderr)
        if not arguments.wait:
            if arguments.json:
                print_json([{**job.__dict__, "id": each.job_id} for job, each in zip(jobs, submitted, strict=True)])
            return None
        outcomes = [_result(job, submission) for job, submission in zip(jobs, submitted, strict=True)]
    else:
        outcomes = sweeps.run(jobs, options, _tell)
    rows = sweeps.gather(outcomes)
    if arguments.json:
        print_json(rows)
    else:
        print(_table(rows), flush=True)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"fer-core: failed: {outcome.job}: {outcome.error}", file=sys.stderr)
    return FAILURES if failed else None


def _result(job: Any, submission: Any) -> Any:
    """A submitted run's outcome; a node that died is the run's failure."""
    from fer_core.sweeps import Outcome

    try:
        return submission.result()
    except Exception as error:  # submitit has many, and each means that there is no outcome
        return Outcome(job, error=f"{type(error).__name__}: {error}".splitlines()[0])


def _tell(outcome: Any) -> None:
    score = "failed" if outcome.record is None else f"WAR {outcome.record.metrics['war']:.2%}"
    print(f"{outcome.job}: {score}", file=sys.stderr, flush=True)


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown."""
    names = ("experiment", "settings", "runs", "failed", "validation_war", "war", "war_sd", "uar")
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in rows:
        cells = [f"{row[name]:.2f}" if isinstance(row[name], float) else str(row[name] or "–") for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
