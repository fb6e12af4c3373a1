"""The command line, thin: it reads arguments, calls the library and prints.

A user's mistake ends with one line on standard error and exit code 2, an interrupt with 130, a run that a cluster asked
to stop with 75. What needs torch is imported by the command that needs it, so that help and listings of experiments
come at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_core import (
    __version__,
    cli_atlas,
    cli_common,
    cli_data,
    cli_describe,
    cli_faces,
    cli_predict,
    cli_reproduce,
    cli_sweep,
)
from fer_core.cli_common import INTERRUPTED, MISTAKE, STOPPED, Call, print_json
from fer_core.errors import Stopped, UserError

BROKEN_PIPE = 141
# Kept here so that --help does not import the renderers; a test holds them against table_formats.FORMATS.
FORMATS = ("markdown", "csv", "latex", "html", "json")
_GO_ON = ("run", "sweep")  # the commands that train and keep checkpoints, and so have something to say of what is left
_MAY_BE_EMPTY = ("classes",)  # of the command line: all classes that the model knows


def _run(arguments: argparse.Namespace) -> None:
    from fer_core import experiments

    overrides = experiments.parse_overrides(arguments.set)
    # Wrong names are told before torch is imported, and before the first of several seeds has run.
    experiments.load(arguments.experiment).settings(arguments.profile, overrides)
    done = []
    for seed in arguments.seed:
        record = experiments.run(
            arguments.experiment,
            arguments.profile,
            seed,
            device=arguments.device,
            data_root=arguments.data_root,
            overrides=overrides,
            records_dir=arguments.records,
            force=arguments.force,
            progress=not arguments.quiet,
            checkpoint_seconds=arguments.checkpoint_seconds,
            log_dir=arguments.log_dir,
            keep_model=arguments.keep_model,
            models_dir=arguments.models,
            trained_by=arguments.trained_by,
        )
        done.append(record)
        if not arguments.json:
            print(_summary(record), flush=True)
    if arguments.json:
        from fer_core import config

        print_json([config.plain(record) for record in done])


def _summary(record: Any) -> str:
    scores = [f"WAR {record.metrics['war']:.2%}", f"UAR {record.metrics['uar']:.2%}"]
    if "deduplicated" in record.metrics:
        scores.append(f"de-duplicated WAR {record.metrics['deduplicated']['war']:.2%}")
    scores.append(f"if chosen on test WAR {record.selection['test_chosen']['war']:.2%}")
    run = f"{record.experiment} {record.profile} seed {record.seed}"
    return f"{run} on {record.metrics['n']} samples: {', '.join(scores)}"


def _experiments(arguments: argparse.Namespace) -> None:
    from fer_core import experiments

    found = [experiments.load(name) for name in experiments.names()]
    rows = [
        {
            "name": each.name, "title": each.title, "method": each.method, "dataset": each.dataset,
            "backbone": each.backbone, "profiles": list(each.profiles), "expected": each.expected,
        }
        for each in found
    ]  # fmt: skip
    _list(arguments, rows, ("name", "title", "profiles"))


def _methods(arguments: argparse.Namespace) -> None:
    from fer_core import adapt, config, models

    rows = []
    for name, method in [(name, kind.get(name)) for kind in (models, adapt) for name in kind.names()]:
        title = (method.__doc__ or "").strip().splitlines()[0].rstrip(".")
        # Every config has a default for every setting, which is what a listing is to show.
        rows.append({"name": name, "title": title, "settings": config.plain(method.Config())})
    _list(arguments, rows, ("name", "title", "settings"))


def _datasets(arguments: argparse.Namespace) -> None:
    from fer_core.data import overview

    _list(arguments, overview.rows(), ("name", "kind", "needs"))


def _tables(arguments: argparse.Namespace) -> None:
    from fer_core import table_formats, tables

    if arguments.records and not Path(arguments.records).is_dir():
        raise UserError(f"--records: expected a folder of records, found none at {arguments.records}; mend the path")
    if arguments.json and arguments.format not in (None, "json"):
        raise UserError(f"--json: expected one format, got --format {arguments.format}, too; drop one of them")
    if arguments.name is None:
        if arguments.format not in (None, FORMATS[0]):
            raise UserError(f"--format {arguments.format}: expected a table to print, got no name; name one")
        rows = [{"name": name, "caption": tables.caption(name)} for name in tables.names()]
        _list(arguments, rows, ("name", "caption"))
        return
    table = tables.build(arguments.name, arguments.records)
    kind = "json" if arguments.json else arguments.format or FORMATS[0]
    print(table_formats.FORMATS[kind](table), end="")


def _bench(arguments: argparse.Namespace) -> None:
    from fer_core import bench, experiments

    if arguments.name is None:
        _list(arguments, bench.listing(), ("name", "title"))
        return
    report = bench.run(arguments.name, experiments.parse_overrides(arguments.set))
    if arguments.json:
        print_json(bench.to_json(report))
    else:
        print(bench.to_markdown(report))
    if arguments.keep:
        print(f"wrote {bench.write(report, bench.default_folder())}", file=sys.stderr)


def _list(arguments: argparse.Namespace, rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """Prints rows as JSON, or some of their columns side by side."""
    if arguments.json:
        print_json(rows)
        return
    texts = [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(len(row[place]) for row in texts) for place in range(len(columns))]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _seeds(text: str) -> list[int]:
    seeds = [int(part) for part in text.split(",")]
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError
    return seeds


_seeds.__name__ = "list of seeds"  # what argparse calls it in its message


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="fer-core",
        description="Experiments of a book on CLIP-based facial expression recognition.",
    )
    top.add_argument("--version", action="version", version=f"fer-core {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    def command(name: str, call: Call, text: str, within: Any = commands) -> argparse.ArgumentParser:
        return cli_common.add(within, name, call, text)

    run = command("run", _run, "train and evaluate an experiment, and write its record")
    run.add_argument("experiment", metavar="EXPERIMENT", help="a name that `fer-core experiments` lists")
    profiles = "smoke (seconds), quick (default), full (what tables show) or paper (the paper's own settings)"
    run.add_argument("--profile", default="quick", help=profiles)
    seeds = "one run for each, such as 0,1,2 (default: 0)"
    run.add_argument("--seed", "--seeds", type=_seeds, default=[0], metavar="N[,N...]", help=seeds)
    run.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    run.add_argument("--data-root", metavar="FOLDER", help="where licensed data lies (default: $FER_DATA_ROOT)")
    setting = "another value for a setting, such as training.lr=1e-3; may be repeated"
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=setting)
    run.add_argument("--records", metavar="DIR", help="where to write (default: book/records)")
    run.add_argument("--force", action="store_true", help="run even if the same record is there already")
    run.add_argument("--checkpoint-seconds", type=float, default=300.0, metavar="S", help="least time between two "
                     "writes of the checkpoint that a killed run goes on from (default: 300)")  # fmt: skip
    run.add_argument("--log-dir", metavar="DIR", help="write curves for TensorBoard, each run's in a folder there")
    run.add_argument("--keep-model", action="store_true", help="keep what was trained, too, as safetensors")
    half = "the same, rounded to half precision: a file of half the size"
    run.add_argument("--keep-half", dest="keep_model", action="store_const", const="half", help=half)
    by = "test what another run has kept, instead of training the same again: its file, or its experiment, kept with "
    run.add_argument("--trained-by", metavar="KEPT", help=f"{by}the same profile and seed")
    run.add_argument("--models", metavar="DIR", help="where it is kept (default: book/models)")
    run.add_argument("--quiet", action="store_true", help="show no progress")

    cli_sweep.add_command(command, _seeds)
    cli_predict.add_commands(command)
    cli_reproduce.add_command(command)
    cli_atlas.add_command(command)
    command("experiments", _experiments, "list experiments and their profiles")
    command("methods", _methods, "list methods and their settings")
    listing = "list data sets, what they hold and what they need"
    command("datasets", _datasets, listing)
    actions = commands.add_parser("data", help="list, check and imitate data sets").add_subparsers(
        title="actions", metavar="ACTION", required=True
    )
    command("list", _datasets, listing, actions)
    for part in (cli_data, cli_faces):
        part.add_commands(lambda name, call, text: command(name, call, text, actions))
    subjects = commands.add_parser("describe", help="have language models describe classes or clips").add_subparsers(
        title="subjects", metavar="SUBJECT", required=True
    )
    cli_describe.add_commands(lambda name, call, text: command(name, call, text, subjects))
    tables = command("tables", _tables, "list tables, or print one: published numbers beside reproduced ones")
    tables.add_argument("name", nargs="?", metavar="NAME", help="the table to print; left out, their names")
    tables.add_argument("--format", choices=FORMATS, help="how to print it (default: markdown)")
    tables.add_argument("--records", metavar="DIR", help="where records lie (default: book/records)")
    bench = command("bench", _bench, "measure speed side by side with a plain way, or list what is measured")
    bench.add_argument("name", nargs="?", metavar="NAME", help="what to measure; left out, what there is")
    bench.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option, such as repeats=9")
    bench.add_argument("--keep", action="store_true", help="write the report to book/benches, for the page Speed")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments; the process's own by default.

    Returns:
        The exit code: 0, 1 for a check that found something, 2 for a user's mistake, 75 for a run that was asked to
        stop and goes on when it is started again, 130 for an interrupt, 141 for a reader that went away.
    """
    cli_common.say_anything()
    arguments = parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("fer_core").setLevel(logging.WARNING if getattr(arguments, "quiet", False) else logging.INFO)
    try:
        _refuse_empty(arguments)
        code = arguments.call(arguments)
        sys.stdout.flush()
    except UserError as error:
        print(f"fer-core: error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        left = (
            "; no record was written of the run that was under way; where it had begun to train, the same command goes "
            "on from there"
        )
        print(f"fer-core: interrupted{left if arguments.command in _GO_ON else ''}", file=sys.stderr)
        return INTERRUPTED
    except Stopped as stopped:
        print(f"fer-core: {stopped}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        # Python flushes standard output once more when it ends; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno is None:
            raise
        print(f"fer-core: error: {cli_common.message(error)}", file=sys.stderr)
        return MISTAKE
    return code or 0


def _refuse_empty(arguments: argparse.Namespace) -> None:
    """An empty word is a shell variable that is not set, and no wish for the default.

    Raises:
        UserError: If one is there.
    """
    for name, value in vars(arguments).items():
        words = value if isinstance(value, (list, tuple)) else [value]
        if "" in words and name not in _MAY_BE_EMPTY:
            raise UserError(f"{name}: expected something, got an empty word; is a variable of the shell unset?")


if __name__ == "__main__":
    sys.exit(main())
