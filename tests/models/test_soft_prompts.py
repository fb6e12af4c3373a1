"""Starts of learned prompts: what they are drawn from, and what they take from words."""

import open_clip
import pytest
import torch

from fer_core import models
from fer_core.models.soft_prompts import deep_start, random_start, words_start


def test_a_random_start_has_the_papers_deviation_and_follows_the_seed():
    torch.manual_seed(0)
    drawn = random_start(200, 64)
    assert drawn.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(drawn.mean().item()) < 1e-3
    torch.manual_seed(0)
    assert torch.equal(random_start(200, 64), drawn)
    own = [random_start(2, 3, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*own)


def test_words_start_at_their_own_embeddings(tiny_clip):
    text = "a photo of a"
    words = open_clip.SimpleTokenizer().encode(text)
    assert len(words) == 4
    wanted = tiny_clip.model.token_embedding(torch.tensor(words, device=tiny_clip.device)).detach()
    assert torch.equal(words_start(tiny_clip, text), wanted)
    assert torch.equal(words_start(tiny_clip, text, 2), wanted[:2])
    assert torch.equal(words_start(tiny_clip, text, 9), wanted)  # no more than there are


def test_deep_prompts_begin_with_words_as_far_as_they_reach(tiny_clip):
    torch.manual_seed(0)
    start = deep_start(tiny_clip, 3, 6, "a photo of a")
    assert start.shape == (3, 6, tiny_clip.text_width)
    assert torch.equal(start[0, :4], words_start(tiny_clip, "a photo of a"))
    torch.manual_seed(0)
    drawn = deep_start(tiny_clip, 3, 6, "")
    assert torch.equal(start[0, 4:], drawn[0, 4:])
    assert torch.equal(start[1:], drawn[1:])
    assert not torch.equal(start[0, :4], drawn[0, :4])


def test_a_start_that_is_trained_leaves_the_clips_words_alone(tiny_clip):
    before = tiny_clip.model.token_embedding.weight.clone()
    method = models.build("coop", tiny_clip, ("anger", "fear"), {"context_length": 4, "context_init": "a photo of a"})
    with torch.no_grad():
        method.context += 1
    assert torch.equal(tiny_clip.model.token_embedding.weight, before)
