"""What is asked: questions about classes, how they are put, and what their answers become."""

import base64
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_core import config, prompts
from fer_core.descriptions import masking
from fer_core.descriptions.endpoint import Answer
from fer_core.descriptions.rows import AnyPath, Description, read_whole_lines
from fer_core.errors import UserError

JPEG_QUALITY = 90
SHOWN = 3  # questions that a preview shows in full
_MAX_TOKENS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Question:
    """What is asked about one key.

    Args:
        key: A class name, or a clip's key.
        text: The question.
        images: Gives the frames, ``(H, W, 3)`` uint8 each, when they are needed; None for a question of words.
    """

    key: str
    text: str
    images: Callable[[], Sequence[np.ndarray]] | None = None


@dataclass(frozen=True)
class Settings:
    """How questions are asked.

    Args:
        parameters: What is sent beside model and question.
        mask: Word that stands for class words in the descriptions; None leaves them.
        concurrency: Questions under way at once.
        max_requests: Requests that may be sent, repeated attempts included; None for any number.
        max_total_tokens: Tokens that may be spent; None for any number.
        max_failures: Questions in a row that may fail before the run stops.
    """

    parameters: dict[str, Any] = field(default_factory=lambda: {"temperature": 0, "max_tokens": 160})
    mask: str | None = None
    concurrency: int = 4
    max_requests: int | None = None
    max_total_tokens: int | None = None
    max_failures: int = 5

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_failures"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected a number of at least 1, got {getattr(self, name)}; raise it")
        if fixed := {"model", "messages", "stream", "n"} & set(self.parameters):
            raise UserError(f"parameters: expected none of the request's own fields, got {min(fixed)!r}; leave it out")
        try:
            config.digest(self.parameters)
        except (TypeError, ValueError) as error:
            raise UserError(f"parameters: {error}; give texts, finite numbers, true or false") from error
        if self.mask is not None:
            masking.check(self.mask)


def class_questions(classes: Sequence[str]) -> list[Question]:
    """One question a class: what tells its expression from the others'.

    Raises:
        UserError: If a class has no words.
    """
    nouns, request = prompts.class_words(classes), prompts.request("classes")
    return [
        Question(name, request.format(**{"class": noun}, others=", ".join(other for other in nouns if other != noun)))
        for name, noun in zip(classes, nouns, strict=True)
    ]


class Prepared:
    """A question made ready to be sent.

    Args:
        question: What is asked.
        model: Who is asked.
        settings: How.
    """

    def __init__(self, question: Question, model: str, settings: Settings) -> None:
        self.question, self.model, self.settings = question, model, settings

    @property
    def parameters(self) -> dict[str, Any]:
        """What a line of the file says of how it was made."""
        treated = {} if self.question.images is None else {"jpeg_quality": JPEG_QUALITY}
        return {"sent": self.settings.parameters, "mask": self.settings.mask, **treated}

    @property
    def prompt_digest(self) -> str:
        """Digest of what is asked of whom, without the images."""
        # The mask is left out: it changes what is made of an answer, not what is asked.
        asked = {key: value for key, value in self.parameters.items() if key != "mask"}
        return config.digest({"text": self.question.text, "model": self.model, **asked})

    @cached_property
    def frames(self) -> list[np.ndarray]:
        """The images, ``(H, W, 3)`` uint8 each; decoded on first use and held until :meth:`forget_frames`."""
        return [] if self.question.images is None else list(self.question.images())

    def forget_frames(self) -> None:
        """Lets go of the images: a run has more of them than memory."""
        self.__dict__.pop("frames", None)

    @cached_property
    def image_digest(self) -> str | None:
        """Digest of the images' pixels."""
        if self.question.images is None:
            return None
        digest = hashlib.sha256()
        for frame in self.frames:
            digest.update(f"{frame.shape}".encode() + np.ascontiguousarray(frame).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def address(self) -> str:
        """Where the cache folder has the answer."""
        return config.digest({"prompt": self.prompt_digest, "images": self.image_digest})

    def content(self) -> str | list[dict[str, Any]]:
        """The user's message; plain text where there are no images, which every server takes."""
        if not self.frames:
            return self.question.text
        images = [{"type": "image_url", "image_url": {"url": _data_url(frame)}} for frame in self.frames]
        return [{"type": "text", "text": self.question.text}, *images]

    def tokens(self) -> tuple[int, int]:
        """About how many tokens the question takes, and how many its answer takes at most (0 where nothing says).

        A token for four characters, and for an image as many as Qwen2-VL takes (Wang et al. 2024, arXiv 2409.12191,
        section 2.1): one for each 28 x 28 pixels and two around them. Other models take more or fewer.
        """
        images = sum(-(-frame.shape[0] // 28) * -(-frame.shape[1] // 28) + 2 for frame in self.frames)
        limits = [self.settings.parameters.get(name) for name in _MAX_TOKENS]
        answer = max((limit for limit in limits if isinstance(limit, int)), default=0)
        return -(-len(self.question.text) // 4) + images, answer

    def row(self, answer: Answer) -> Description:
        """The line of the file that an answer becomes: in one line, with class words masked where that is asked for."""
        text = " ".join(answer.text.split())
        if self.settings.mask is not None:
            text = masking.mask(text, self.settings.mask)
        return Description(
            key=self.question.key,
            text=text,
            model=self.model,
            prompt_digest=self.prompt_digest,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            parameters=self.parameters,
            images=self.image_digest,
        )


def _data_url(frame: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format="JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def unanswered(
    questions: Sequence[Question], rows: Mapping[str, Description], out: Path, model: str, settings: Settings
) -> list[Prepared]:
    """Those that the file has no answer to.

    Args:
        questions: All of them.
        rows: The file's answers by key.
        out: The file, named in messages.
        model: Who is to answer.
        settings: How it is asked.

    Raises:
        UserError: If two questions have the same key, or the file's answers were made with other settings.
    """
    keys = [question.key for question in questions]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"expected one question of each key, got {twice!r} twice; mend the data set's list")
    missing = []
    for question in questions:
        prepared, row = Prepared(question, model, settings), rows.get(question.key)
        if row is None:
            missing.append(prepared)
        elif (row.model, row.prompt_digest, row.parameters) != (model, prepared.prompt_digest, prepared.parameters):
            raise UserError(
                f"{out}: expected answers to the same question by {model!r}, got one of {question.key!r} made with "
                f"other settings (by {row.model!r}); choose another --out"
            )
    return missing


def preview(questions: Sequence[Question], out: AnyPath, model: str, settings: Settings) -> dict[str, Any]:
    """What :func:`fer_core.descriptions.jobs.run` would ask; nothing is sent and nothing is written.

    Returns:
        ``questions`` (how many), ``kept`` (which the file has), ``requests`` (at most, as the cache folder may have
        some), ``prompt_tokens`` and ``answer_tokens`` (estimates over all requests, from the first few) and ``first``:
        a few questions with ``key``, ``text`` and ``images`` (their sizes).

    Raises:
        UserError: As there, as far as nothing is asked.
    """
    path = Path(out)
    missing = unanswered(questions, read_whole_lines(path), path, model, settings)
    shown = missing[:SHOWN]
    counts = [prepared.tokens() for prepared in shown]
    share = len(missing) / max(1, len(shown))
    return {
        "questions": len(questions),
        "kept": len(questions) - len(missing),
        "requests": len(missing),
        "prompt_tokens": round(sum(prompt for prompt, _ in counts) * share),
        "answer_tokens": round(sum(answer for _, answer in counts) * share),
        "first": [
            {
                "key": prepared.question.key,
                "text": prepared.question.text,
                "images": [f"{frame.shape[1]}x{frame.shape[0]}" for frame in prepared.frames],
            }
            for prepared in shown
        ],
    }
