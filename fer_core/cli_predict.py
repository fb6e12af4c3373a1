"""The commands ``fer-core predict`` and ``fer-core export``: trained methods for one's own faces and programs."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_core import atomic
from fer_core.cli_common import Command, print_json
from fer_core.errors import UserError

if TYPE_CHECKING:
    from fer_core.predicting import LeftOut, Model, Prediction

LEFT_OUT = 1  # the exit code where a file got no prediction
FACES = ("centre", "mediapipe", "files")
_FORMATS = (".json", ".csv")
_SHOWN = 24  # most faces of an annotated picture


def add_commands(command: Command) -> None:
    """Adds the commands.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
    """
    predict = command("predict", _predict, "tell the expressions of photographs, videos and folders of them")
    predict.add_argument("sources", metavar="FILE", nargs="+", help="an image, a video, or a folder")
    _add_model(predict)
    predict.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    faces = "centre (default): pictures are cropped faces; mediapipe or files: find and align them"
    predict.add_argument("--faces", choices=FACES, default="centre", help=faces)
    download = "mediapipe's model (default: download it once)"
    predict.add_argument("--faces-model", metavar="FILE", default="download", help=download)
    mirrored = "files: where OpenFace .csv, .pts or .json files lie, as photographs do in the folder that is named"
    predict.add_argument("--faces-folder", metavar="FOLDER", help=mirrored)
    predict.add_argument("--clips", action="store_true", help="a folder of images is a clip, not photographs")
    predict.add_argument("--frames", type=int, metavar="N", help="frames of a clip at once (default: as in training)")
    step = "one prediction for every run of neighbouring frames, N apart (default: one a clip, spread over it)"
    predict.add_argument("--step", type=int, metavar="N", help=step)
    predict.add_argument("--batch", type=int, default=32, metavar="N", help="samples at a time (default: 32)")
    predict.add_argument("--out", metavar="FILE", help="write all probabilities to a .json or .csv file")
    predict.add_argument("--picture", metavar="FILE.png", help=f"draw the first {_SHOWN} with their probabilities")
    predict.add_argument("--quiet", action="store_true", help="show no progress")

    export = command("export", _export, "write a trained method as ONNX, and check that it says the same")
    export.add_argument("out", metavar="FILE.onnx", help="the file to write")
    _add_model(export)
    export.add_argument("--frames", type=int, metavar="N", help="export for clips of N frames (default: photographs)")
    half = "keep weights in half precision: half the size, answers a little different"
    export.add_argument("--half", action="store_true", help=half)


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = "zero-shot (default), a .safetensors file of `fer-core run --keep-model`, or an experiment that was kept"
    parser.add_argument("--model", default="zero-shot", help=model)
    parser.add_argument("--backbone", default="embedded", help="the CLIP of zero-shot (default: embedded)")
    classes = "classes to ask for, such as happiness,anger (default: the model's own)"
    parser.add_argument("--classes", default="", metavar="NAME[,NAME...]", help=classes)


def _model(arguments: argparse.Namespace, device: str) -> "Model":
    from fer_core import hardware, predicting

    classes = [name.strip() for name in arguments.classes.split(",") if name.strip()]
    return predicting.open_model(
        arguments.model, backbone=arguments.backbone, classes=classes, device=hardware.device(device)
    )


def _predict(arguments: argparse.Namespace) -> int | None:
    # Before minutes of work.
    for name, kinds in (("out", _FORMATS), ("picture", (".png",))):
        given = getattr(arguments, name)
        if given and Path(given).suffix.lower() not in kinds:
            raise UserError(f"--{name}: expected a file that ends with {' or '.join(kinds)}, got {given}; rename it")
        if given:
            _check_place(Path(given), f"--{name}")
    for name, needs in (("faces_model", "mediapipe"), ("faces_folder", "files")):
        if getattr(arguments, name) not in (None, "download") and arguments.faces != needs:
            option = name.replace("_", "-")
            raise UserError(f"--{option}: expected --faces {needs} with it, got {arguments.faces}; add or drop one")
    from tqdm import tqdm

    from fer_core import predicting
    from fer_core.data import alignment, annotations
    from fer_core.data.faces_in_images import FacePlacer

    found = predicting.find(arguments.sources, arguments.clips)
    model = _model(arguments, arguments.device)
    placer, annotator = None, None
    if arguments.faces != "centre":
        finder = annotations.finder(arguments.faces, arguments.faces_model, arguments.faces_folder)
        placer = FacePlacer(alignment.Alignment(), finder)
        if model.method.maps:
            annotator = annotations.FinderAnnotator(finder, "centre")  # where an alignment puts the face that is meant
    predictor = predicting.Predictor(
        model, placer=placer, annotator=annotator, frames=arguments.frames, step=arguments.step, batch=arguments.batch
    )
    told: list[Prediction] = []
    left: list[LeftOut] = []
    whole = False
    try:
        with tqdm(unit="file", total=len(found), disable=arguments.quiet or not sys.stderr.isatty()) as bar:
            done: set[str] = set()
            for each in predictor(found):
                done.add(each.path)
                bar.update(len(done) - bar.n)
                if isinstance(each, predicting.LeftOut):
                    left.append(each)
                    bar.write(f"left out: {each.path}: {each.why}", file=sys.stderr)
                elif len(told) < _SHOWN:
                    told.append(each)
                else:
                    told.append(replace(each, image=each.image[:0]))  # thousands of pictures would fill the memory
        whole = True
    finally:  # what an interrupt or an error leaves is worth keeping, and says that it is not all
        report = {**_facts(model, placer), "complete": whole, **_rows(told, left)}
        if arguments.out and (told or left):
            _write(Path(arguments.out), report, model.method.classes)
    if arguments.picture and told:
        _draw(Path(arguments.picture), told, model.method.classes)
    if arguments.json:
        print_json(report)
    elif not arguments.out:
        for each in told:
            print(f"{_place(each)}  {each.label}  {each.probabilities[each.label]:.3f}")
    return LEFT_OUT if left else None


def _check_place(path: Path, what: str) -> None:
    try:
        atomic.check(path)
    except OSError as error:
        raise UserError(f"{what}: cannot write {path} ({error.strerror}); choose another place") from error


def _facts(model: "Model", placer: Any) -> dict[str, Any]:
    return {**model.told, "classes": list(model.method.classes), "alignment": placer.digest if placer else None}


def _rows(told: Sequence["Prediction"], left: Sequence["LeftOut"]) -> dict[str, Any]:
    return {
        "predictions": [
            {
                "path": _text(each.path), "frames": None if each.frames is None else list(each.frames),
                "label": each.label,
                "probabilities": {name: round(value, 6) for name, value in each.probabilities.items()},
            }
            for each in told
        ],
        "left_out": [{"path": _text(each.path), "why": _text(each.why)} for each in left],
    }  # fmt: skip


def _write(asked: Path, report: dict[str, Any], classes: Sequence[str]) -> None:
    """Writes the report to the place asked for; one that is not whole beside it, where it replaces none that is."""
    path = asked if report["complete"] else asked.with_suffix(f".partial{asked.suffix}")
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    if path.suffix.lower() == ".csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["path", "first_frame", "last_frame", "label", *classes])
        for row in report["predictions"]:
            ends = ["", ""] if row["frames"] is None else [min(row["frames"]), max(row["frames"])]
            writer.writerow([row["path"], *ends, row["label"], *(row["probabilities"][name] for name in classes)])
        text = buffer.getvalue()
    try:
        with atomic.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out: cannot write {path} ({error}); choose another place") from error
    wrote = f"wrote {len(report['predictions'])} predictions to {path}"
    if not report["complete"]:
        wrote = f"stopped before the end: {wrote}; {asked} is as it was"
    print(wrote, file=sys.stderr)


def _draw(path: Path, told: Sequence["Prediction"], classes: Sequence[str]) -> None:
    import numpy as np
    import torch

    from fer_core import plots_faces

    told = [each for each in told if len(each.image)]
    image = torch.stack([each.image[len(each.image) // 2] for each in told])
    probabilities = np.array([[each.probabilities[name] for name in classes] for each in told])
    drawn = plots_faces.said(image, probabilities, classes, [_place(each) for each in told])
    try:
        with atomic.replacing(path) as temporary:
            drawn.savefig(temporary, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"--picture: cannot write {path} ({error}); choose another place") from error
    print(f"drew {len(told)} to {path}", file=sys.stderr)


def _place(each: "Prediction") -> str:
    """The file, and of a clip which frames."""
    path = _text(each.path)
    return path if each.frames is None else f"{path} {min(each.frames)}-{max(each.frames)}"


def _text(path: str) -> str:
    """A file's name as text that any file can hold; bytes that are none as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _export(arguments: argparse.Namespace) -> None:
    from fer_core import exporting

    if Path(arguments.out).suffix.lower() != ".onnx":
        raise UserError(f"expected a file that ends with .onnx, got {arguments.out}; rename it")
    _check_place(Path(arguments.out), "export")
    model = _model(arguments, "cpu")  # where graphs are traced and tried, whatever else there is

    def stage(text: str) -> None:
        print(f"export, {text}", file=sys.stderr, flush=True)

    report = exporting.export(model, Path(arguments.out), frames=arguments.frames, half=arguments.half, stage=stage)
    if arguments.json:
        print_json(report)
        return
    print(
        f"wrote {arguments.out}, {report['bytes'] / 1e6:.1f} MB; against PyTorch probabilities differ by at most "
        f"{report['difference']:.1e}"
    )
