"""Vectors in the place of words or beside patches, before they are learned: one start for all methods with prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fer_core import prompts
from fer_core.clip import Clip, TextTokens

STD = 0.02
"""The deviation of random starts, as CoOp has it (Zhou et al. 2022, section 4) and later papers kept it."""


def random_start(*shape: int, generator: torch.Generator | None = None) -> Tensor:
    """Numbers from N(0, 0.02^2), on the CPU whatever the method runs on: one seed starts alike on every device.

    Args:
        shape: Of the vectors, the width last.
        generator: Of the CPU; torch's own by default.
    """
    return STD * torch.randn(shape, generator=generator)


def words_start(clip: Clip, words: str, length: int | None = None) -> Tensor:
    """``(P, W)``: the first tokens of some words as the text tower embeds them; fewer than asked where words are few.

    Args:
        clip: Whose words.
        words: Such as ``"a photo of a"``.
        length: At most so many; all by default.
    """
    tokens = clip.tokens([words])
    most = tokens.shortest - 1
    return tokens.embedding[0, 1 : 1 + (most if length is None else min(length, most))].clone()


def deep_start(clip: Clip, depth: int, length: int, words: str) -> Tensor:
    """``(J, P, W_t)`` text prompts of the first J blocks: the first block's from words, as far as they reach.

    Args:
        clip: Whose text tower.
        depth: J.
        length: P.
        words: As in :func:`words_start`; none for random vectors in the first block, too.
    """
    later = random_start(depth - 1, length, clip.text_width)
    first = random_start(length, clip.text_width)
    if words:
        known = words_start(clip, words, length)
        first[: len(known)] = known.to(first)
    return torch.cat([first[None], later]).to(clip.device)


def deep_words(clip: Clip, classes: Sequence[str], length: int, words: prompts.Words) -> TextTokens:
    """Tokens of ``"x … x {class}."``: the places of deep text prompts, which stand for the x.

    Args:
        clip: Whose tokens.
        classes: Class names.
        length: How many x there are.
        words: The form of the class words.
    """
    return clip.tokens([f"{'x ' * length}{word}." for word in prompts.class_words(classes, words)])
