"""The command ``fer-core atlas``: trained methods asked the questions of the entanglement atlas."""

import argparse

from fer_core.cli_common import Command, print_json


def add_command(command: Command) -> None:
    """Adds the command.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
    """
    added = command("atlas", _atlas, "ask trained methods how entangled their features are, and keep the answers")
    added.add_argument("experiments", metavar="EXPERIMENT", nargs="+", help="kept by `fer-core run NAME --keep-model`")
    added.add_argument("--profile", default="full", help="of the run (default: full)")
    added.add_argument("--seed", type=int, default=0, help="of the run (default: 0)")
    added.add_argument("--limit", type=int, metavar="N", help="at most N test samples")
    added.add_argument("--models", metavar="DIR", help="where trained methods are kept (default: book/models)")
    added.add_argument("--data-root", metavar="FOLDER", help="where licensed data lies (default: $FER_DATA_ROOT)")
    added.add_argument("--device", default="cpu", help="auto, cpu (default), cuda, cuda:1, mps")
    added.add_argument("--out", metavar="DIR", help="where answers go (default: book/atlas)")


def _atlas(arguments: argparse.Namespace) -> None:
    from fer_core import atlas

    atlas.check_place(arguments.profile, arguments.seed, arguments.limit, arguments.out)
    told = []
    for name in arguments.experiments:
        answers = atlas.ask(
            name, arguments.profile, arguments.seed, models_dir=arguments.models, data_root=arguments.data_root,
            device=arguments.device, limit=arguments.limit,
        )  # fmt: skip
        path = atlas.keep(answers, arguments.out)
        if arguments.json:
            told.append(answers.told)
            continue
        measured = answers.measures
        scores = ", ".join(f"{key} {measured[key].value:.3f}" for key in ("UAR", "index, logits", "linear probe"))
        print(f"{name}: {scores}; wrote {path}", flush=True)
    if arguments.json:
        print_json(told)
