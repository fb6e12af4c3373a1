"""The commands ``fer-core data ...``: list data sets, compare a folder with a release, write a miniature of one."""

import argparse
import shlex
import sys
from pathlib import Path

from fer_core.cli_common import Command, print_json

FINDINGS = 1  # the exit code of a check that found an error or a warning


def add_commands(command: Command) -> None:
    """Adds the commands.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
    """
    check = command("check", _check, "compare a folder with a data set's official release (exit code 1: findings)")
    check.add_argument("name", metavar="NAME", help="a licensed data set that `fer-core data list` names")
    check.add_argument("root", metavar="ROOT", nargs="?", help="its folder (default: $FER_DATA_ROOT)")
    option = "an option of its loader, such as fold=2; may be repeated"
    check.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=option)
    check.add_argument("--all-files", action="store_true", help="decode every file and frame, not a sample of them")
    check.add_argument("--sheet", metavar="FILE.png", help="write faces of every class into one picture")
    check.add_argument("--quiet", action="store_true", help="show no progress")

    demo = command("demo", _demo, "write a miniature of a data set, in its official layout, from rendered faces")
    demo.add_argument("name", metavar="NAME", help="a licensed data set that `fer-core data list` names")
    demo.add_argument("root", metavar="ROOT", help="the folder to write: a new or an empty one")
    demo.add_argument("--seed", type=int, default=0, help="which faces (default: 0)")
    demo.add_argument("--quiet", action="store_true", help="show no progress")


def _check(arguments: argparse.Namespace) -> int | None:
    from fer_core.data import check, check_report, check_sheet
    from fer_core.experiments import parse_overrides

    options = parse_overrides(arguments.option, flag="--option")
    if arguments.sheet:
        check_sheet.checked_name(arguments.sheet)  # before minutes of work
    report = check.check(
        arguments.name, arguments.root, options, all_files=arguments.all_files, progress=not arguments.quiet
    )
    if arguments.json:
        print_json(check_report.to_json(report))
    else:
        print(check_report.to_text(report), end="")
    if arguments.sheet:
        written = check_sheet.write(arguments.name, arguments.root, arguments.sheet, options)
        print(f"wrote {written}", file=sys.stderr)
    return None if report.sound else FINDINGS


def known_of(experiment: str, root: Path) -> list[str]:
    """The settings by which an experiment finds what a miniature has of landmarks and descriptions.

    Args:
        experiment: Its name.
        root: The miniature's folder.

    Returns:
        ``key=value`` each; none where the experiment asks for neither.
    """
    from fer_core import experiments, models
    from fer_core.data.demo_files import DESCRIPTIONS, LANDMARKS

    settings, found = experiments.load(experiment).settings("smoke"), []
    if "annotations" in settings.data:
        found += ["data.annotations.name=files", f"data.annotations.folder={root / LANDMARKS}"]
    if models.get(settings.source or settings.method).needs_captions and "captions" not in settings.data:
        found.append(f"data.descriptions={root / DESCRIPTIONS}")
    return found


def _demo(arguments: argparse.Namespace) -> None:
    from fer_core import experiments
    from fer_core.data import demo

    written = demo.write(arguments.name, arguments.root, arguments.seed)
    root = shlex.quote(str(written.root))
    commands = [f"fer-core data check {written.name} {root}"]
    for name in experiments.names():
        if experiments.load(name).dataset == written.name:
            also = "".join(f" --set {shlex.quote(each)}" for each in known_of(name, written.root))
            commands.append(f"fer-core run {name} --profile smoke --data-root {root}{also}")
    if arguments.json:
        row = {"name": written.name, "root": str(written.root), "files": written.files, "bytes": written.bytes}
        print_json({**row, "next": commands})
        return
    print(f"wrote {written.files} files, {written.bytes / 1e6:.1f} MB, to {written.root}; now for example")
    print("\n".join(f"  {line}" for line in commands))
