import open_clip
import torch
import torch.nn.functional as F
from open_clip.tokenizer import tokenize

from fer_core import models, prompts


def test_one_template_equals_open_clips_own_logits(tiny_clip, classes, make_batch):
    method = models.build("zero-shot", tiny_clip, classes, {"templates": "clip", "words": "adjective"})
    batch = make_batch()
    texts = tokenize([f"a photo of a {word}." for word in prompts.class_words(classes, "adjective")])
    expected, _ = open_clip.CLIP.get_logits(tiny_clip.model, batch.image, texts)
    torch.testing.assert_close(method(batch).logits, expected, atol=1e-5, rtol=0)


def test_the_ensemble_is_the_normalised_mean_of_normalised_features(tiny_clip, classes, make_batch):
    method = models.build("zero-shot", tiny_clip, classes, {"templates": "clip-fer2013", "words": "adjective"})
    rows = []
    for word in prompts.class_words(classes, "adjective"):
        total = torch.zeros(24)
        for template in prompts.templates("clip-fer2013", "adjective"):
            feature = tiny_clip.model.encode_text(tokenize([template.replace("{}", word)]))[0]
            total += feature / feature.norm()
        rows.append(total / total.norm())
    torch.testing.assert_close(method.prototypes, torch.stack(rows), atol=1e-6, rtol=0)


def test_clips_are_the_mean_of_their_frames_features(tiny_clip, classes, make_batch):
    method = models.build("zero-shot", tiny_clip, classes)
    batch = make_batch(2, frames=3)
    frames = F.normalize(tiny_clip.model.encode_image(batch.image.flatten(0, 1)), dim=-1).view(2, 3, -1)
    expected = F.normalize(frames.sum(dim=1), dim=-1)
    torch.testing.assert_close(method(batch).features, expected, atol=1e-6, rtol=0)


def test_nouns_and_adjectives_are_different_classifiers(tiny_clip, classes, make_batch):
    noun = models.build("zero-shot", tiny_clip, classes, {"words": "noun"})
    adjective = models.build("zero-shot", tiny_clip, classes, {"words": "adjective"})
    assert not torch.allclose(noun(make_batch()).logits, adjective(make_batch()).logits, atol=1e-2)
