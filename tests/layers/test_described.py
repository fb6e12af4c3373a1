"""Descriptions as text features."""

import pytest
import tiny
import torch

from fer_core.errors import UserError
from fer_core.layers.described import describe, sentences


def test_descriptions_are_cut_into_sentences_that_fit() -> None:
    assert sentences("The brows rise! The lips part.\nThen nothing") == [
        "The brows rise.",
        "The lips part.",
        "Then nothing.",
    ]
    long = sentences("word " * 95 + ".")
    assert [len(piece.split()) for piece in long] == [40, 40, 15]
    assert sentences(" . ") == []


def test_a_description_is_the_mean_of_its_sentences_and_each_is_encoded_once(monkeypatch) -> None:
    clip = tiny.tiny_clip()
    told = describe(clip, ["The brows rise. The lips part.", "The lips part."])
    one, other = clip.fixed_texts(["The brows rise.", "The lips part."])
    torch.testing.assert_close(told[0], torch.nn.functional.normalize((one + other) / 2, dim=0))
    torch.testing.assert_close(told[1], other)
    with pytest.raises(UserError, match="expected a text for each clip, got an empty one"):
        describe(clip, ["The lips part.", " . "])
