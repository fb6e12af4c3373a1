import pytest
import torch

from fer_core import models


@pytest.mark.parametrize("class_specific", [False, True])
def test_a_context_from_words_equals_zero_shot_on_that_template(class_specific, tiny_clip, classes, make_batch):
    settings = {"context_length": 4, "context_init": "a photo of a", "class_specific": class_specific}
    coop = models.build("coop", tiny_clip, classes, settings)
    zero_shot = models.build("zero-shot", tiny_clip, classes, {"templates": "a photo of a {}."})
    batch = make_batch()
    torch.testing.assert_close(coop(batch).logits, zero_shot(batch).logits, atol=1e-5, rtol=0)


def test_the_random_start_is_the_papers(tiny_clip, classes):
    torch.manual_seed(0)
    context = models.build("coop", tiny_clip, classes, {"context_length": 64}).context
    assert context.shape == (64, 16)
    assert context.std().item() == pytest.approx(0.02, rel=0.1)
    assert abs(context.mean().item()) < 0.003


@pytest.mark.parametrize("name", ["coop", "dfer-clip"])
def test_contexts_of_classes_are_drawn_apart(name, tiny_clip, classes):
    context = models.build(name, tiny_clip, classes, {"class_specific": True}).context
    assert context.shape[0] == len(classes)
    assert not torch.allclose(context[0], context[1])


def test_class_specific_contexts_move_only_their_class(tiny_clip, classes):
    shared = models.build("coop", tiny_clip, classes)
    specific = models.build("coop", tiny_clip, classes, {"class_specific": True})
    assert (shared.context.shape, specific.context.shape) == ((16, 16), (4, 16, 16))
    for method, moved in ((shared, [True] * 4), (specific, [False, True, False, False])):
        before = method.prototypes()
        with torch.no_grad():
            changed = method.context if method is shared else method.context[1]
            changed.add_(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))
        difference = (method.prototypes() - before).abs().amax(dim=1)
        assert (difference > 1e-3).tolist() == moved


def test_words_keep_their_order_after_the_context(tiny_clip, classes):
    coop = models.build("coop", tiny_clip, ("disgust", "anger"), {"words": "adjective", "context_length": 3})
    assert torch.equal(coop.words.ids, tiny_clip.tokens(["disgusted.", "angry."]).ids)
