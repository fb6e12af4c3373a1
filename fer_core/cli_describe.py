"""The commands ``fer-core describe classes|clips``: descriptions by language models, written to a file."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fer_core.cli_common import INTERRUPTED, Command, print_json
from fer_core.errors import UserError

if TYPE_CHECKING:
    from fer_core.descriptions.jobs import Report
    from fer_core.descriptions.questions import Question

logger = logging.getLogger(__name__)


def add_commands(command: Command) -> None:
    """Adds the commands.

    Args:
        command: Makes a command's parser out of its name, what it calls, and what it does in words.
    """
    classes = command("classes", _classes, "ask a language model what tells each class's expression from the others")
    classes.add_argument("dataset", metavar="DATASET", help="whose classes; a name that `fer-core datasets` lists")
    _add_common(classes)

    clips = command("clips", _clips, "ask a multimodal model how the face moves in each clip of a data set")
    clips.add_argument("dataset", metavar="DATASET", help="a data set of clips that `fer-core datasets` lists")
    splits = "which split, such as train,test (default: train,validation,test)"
    clips.add_argument("--split", "--splits", default="train,validation,test", metavar="NAME[,NAME...]", help=splits)
    clips.add_argument("--data-root", metavar="FOLDER", help="where licensed data lies (default: $FER_DATA_ROOT)")
    option = "an option of the data set's loader, such as fold=2; may be repeated"
    clips.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=option)
    clips.add_argument("--frames", type=int, default=4, metavar="N", help="frames sent with each clip (default: 4)")
    clips.add_argument("--limit", type=int, metavar="N", help="describe only the first N clips of each split")
    upload = "send licensed images to another machine, which you made sure that the licence allows"
    clips.add_argument("--upload-allowed", action="store_true", help=upload)
    _add_common(clips)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", required=True, metavar="FILE.jsonl", help="where descriptions are appended; goes on where it stopped")
    add("--base-url", metavar="URL", help="the endpoint before /chat/completions, such as http://localhost:8000/v1")
    add("--model", required=True, metavar="NAME", help="the model's name at the endpoint")
    add("--key-variable", metavar="NAME", help="environment variable that holds the key (default: send no key)")
    parameter = "another value to send, such as temperature=0.7; null sends none; may be repeated"
    add("--parameter", action="append", default=[], metavar="KEY=VALUE", help=parameter)
    add("--mask-classes", action="store_true", help="replace words that name a class, so that no label leaks")
    add("--mask-word", metavar="WORD", help="by which word (default: emotion)")
    add("--timeout", type=float, default=120.0, metavar="SECONDS", help="for one answer (default: 120)")
    add("--attempts", type=int, default=5, metavar="N", help="how often to try one question (default: 5)")
    add("--concurrency", type=int, default=4, metavar="N", help="questions under way at once (default: 4)")
    add("--max-requests", type=int, metavar="N", help="stop after so many requests, repeated ones included")
    add("--max-total-tokens", type=int, metavar="N", help="stop before questions and answers take more tokens")
    add("--max-failures", type=int, default=5, metavar="N", help="stop after so many failures in a row (default: 5)")
    add("--dry-run", action="store_true", help="show what would be asked and about what it takes; send nothing")
    add("--quiet", action="store_true", help="show no progress")


def _classes(arguments: argparse.Namespace) -> int | None:
    from fer_core.descriptions import questions

    return _describe(arguments, questions.class_questions(_class_names(arguments.dataset)))


def _class_names(dataset: str) -> tuple[str, ...]:
    """A data set's classes, which its files need not be there for."""
    from fer_core.data.layout import LAYOUTS
    from fer_core.data.registry import names
    from fer_core.errors import unknown
    from fer_core.faces import sets

    if dataset in LAYOUTS:
        return LAYOUTS[dataset].classes
    if dataset in sets.SETS:
        return sets.SETS[dataset].classes
    raise unknown("data set", dataset, names())


def _clips(arguments: argparse.Namespace) -> int | None:
    from fer_core import data
    from fer_core.data.layout import LAYOUTS
    from fer_core.descriptions import clips
    from fer_core.descriptions.endpoint import Endpoint
    from fer_core.experiments import parse_overrides

    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit: expected a number of at least 1, got {arguments.limit}; leave it out for all clips")
    url = None if arguments.dry_run else arguments.base_url
    if url is not None and arguments.dataset in LAYOUTS and not arguments.upload_allowed:
        endpoint = Endpoint(url, arguments.model)
        if not endpoint.is_this_machine:
            raise UserError(
                f"{arguments.dataset}: expected its licensed images to stay on this machine, got an endpoint at "
                f"{endpoint.host}; read the licence, then pass --upload-allowed"
            )
    options = parse_overrides(arguments.option, "--option")
    asked: list[Question] = []
    for split in arguments.split.split(","):
        dataset = data.open(arguments.dataset, split.strip(), arguments.data_root, **options)
        asked += clips.clip_questions(dataset, arguments.frames)[: arguments.limit]
    return _describe(arguments, asked)


def _describe(arguments: argparse.Namespace, asked: "Sequence[Question]") -> int | None:
    from fer_core.descriptions import jobs, masking
    from fer_core.descriptions.endpoint import Endpoint
    from fer_core.descriptions.questions import Settings, preview
    from fer_core.experiments import parse_overrides

    if arguments.mask_word is not None and not arguments.mask_classes:
        raise UserError("--mask-word: expected --mask-classes beside it, got none; pass both")
    settings = Settings(
        parameters=_parameters(parse_overrides(arguments.parameter, "--parameter")),
        mask=(arguments.mask_word or masking.DEFAULT_WORD) if arguments.mask_classes else None,
        concurrency=arguments.concurrency,
        max_requests=arguments.max_requests,
        max_total_tokens=arguments.max_total_tokens,
        max_failures=arguments.max_failures,
    )
    if arguments.dry_run:
        found = preview(asked, arguments.out, arguments.model, settings)
        if arguments.json:
            print_json(found)
        else:
            print(_preview_text(found, arguments))
        return None
    if arguments.base_url is None:
        raise UserError("--base-url: expected the endpoint's address, got none; pass it, or --dry-run to ask nobody")
    endpoint = Endpoint(
        arguments.base_url, arguments.model, arguments.key_variable, arguments.timeout, arguments.attempts
    )
    if arguments.key_variable and arguments.base_url.startswith("http://") and not endpoint.is_this_machine:
        logger.warning("the key goes to %s unencrypted; use https:// where the endpoint has it", endpoint.host)
    try:
        report = jobs.run(asked, arguments.out, endpoint, settings, progress=not arguments.quiet)
    except KeyboardInterrupt:
        print(
            f"fer-core: interrupted; {arguments.out} has what was answered, the same command goes on", file=sys.stderr
        )
        return INTERRUPTED
    _report(report, arguments)
    return None


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    """The default parameters with the given ones over them; ``null`` takes one away."""
    from fer_core.descriptions.questions import Settings

    return {key: value for key, value in (Settings().parameters | given).items() if value is not None}


def _preview_text(found: dict[str, Any], arguments: argparse.Namespace) -> str:
    lines = []
    for question in found["first"]:
        images = f" with {len(question['images'])} images ({question['images'][0]})" if question["images"] else ""
        lines += [f"{question['key']}{images}:", f"  {question['text']}", ""]
    if found["requests"] > len(found["first"]):
        lines += [f"... and {found['requests'] - len(found['first'])} more", ""]
    lines.append(
        f"would send {arguments.model} {found['requests']} requests (at most: answers in the cache are not asked for); "
        f"{arguments.out} has {found['kept']} of {found['questions']}"
    )
    answers = f"up to {found['answer_tokens']}" if found["answer_tokens"] else "any number"
    lines.append(f"about {found['prompt_tokens']} tokens of questions and {answers} of answers, by a rough count")
    return "\n".join(lines)


def _report(report: "Report", arguments: argparse.Namespace) -> None:
    """Prints what was done, and refuses to call a file complete that is not."""
    out = arguments.out
    if arguments.json:
        print_json(dataclasses.asdict(report))
    else:
        print(
            f"{out}: {report.made} descriptions made, {report.cached} from the cache, {report.kept} there before; "
            f"{report.requests} requests, about {report.tokens} tokens"
        )
    missing = report.questions - report.kept - report.cached - report.made
    if not missing:
        return
    reasons = [report.stopped] if report.stopped else []
    if report.failed:
        key, reason = next(iter(report.failed.items()))
        reasons.append(f"{len(report.failed)} failed, the first, {key!r}: {reason}")
    raise UserError(
        f"{out}: expected {report.questions} descriptions, got none of {missing} ({'; '.join(reasons)}); the same "
        "command goes on"
    )
