"""``fer-core data align``: raw photographs and videos to aligned faces."""

import argparse
import sys

from fer_core.cli_common import Command, print_json

MODES, SEVERAL, NONE = ("eyes", "points", "box"), ("largest", "centre"), ("skip", "error", "centre")
FINDERS = ("mediapipe", "files")


def add_commands(command: Command) -> None:
    """Adds ``align`` to the subcommands of ``fer-core data``.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
    """
    align = command("align", _align, "find, align and crop the faces of a folder of photographs and videos")
    align.add_argument("source", metavar="IN", help="the folder of photographs and videos")
    align.add_argument("target", metavar="OUT", help="where crops go; an interrupted call goes on there")
    align.add_argument("--finder", choices=FINDERS, default="mediapipe", help="who finds faces (default: mediapipe)")
    align.add_argument(
        "--model", metavar="FILE", default="download", help="mediapipe's model (default: download it once)"
    )
    align.add_argument(
        "--faces", metavar="FOLDER", help="files: a folder like IN of OpenFace .csv, .pts or .json files"
    )
    align.add_argument("--clips", action="store_true", help="a folder of images is a clip, not a folder of photographs")
    align.add_argument("--size", type=int, metavar="PIXELS", help="side of the crops (default: 224)")
    modes = "eyes in their places (default), five points as near as they come, or the box"
    align.add_argument("--mode", choices=MODES, help=modes)
    for side in ("right", "left"):
        place = f"the {side} eye's place in 0..1 of the crop"
        align.add_argument(f"--{side}-eye", type=float, nargs=2, metavar=("X", "Y"), help=place)
    align.add_argument(
        "--margin", type=float, metavar="SHARE", help="mode box: what is added on each side (default: 0.2)"
    )
    align.add_argument("--several", choices=SEVERAL, help="which face of several (default: largest)")
    align.add_argument("--none", choices=NONE, help="without a face: skip the file (default), stop, or cut the centre")
    align.add_argument("--quiet", action="store_true", help="show no progress")


def _align(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from fer_core import config
    from fer_core.data.align_folder import align_folder
    from fer_core.data.alignment import Alignment
    from fer_core.data.annotations import finder
    from fer_core.data.faces_in_images import FacePlacer

    names = ("size", "mode", "right_eye", "left_eye", "margin", "several", "none")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    alignment = config.build(Alignment, given, "alignment")
    placer = FacePlacer(alignment, finder(arguments.finder, arguments.model, arguments.faces))
    with tqdm(unit="file", file=sys.stderr, disable=arguments.quiet or not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = align_folder(arguments.source, arguments.target, placer, arguments.clips, progress)
    if arguments.json:
        print_json(config.plain(report))
        return
    print(f"alignment {report.digest}: " + ", ".join(f"{count} {name}" for name, count in report.outcomes.items()))
    for name, count in sorted(report.counts.items()):
        print(f"  {count:8d} {name}")
    for path, why in report.unreadable.items():
        print(f"  unreadable: {path}: {why}")
