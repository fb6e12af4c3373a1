"""The majority baseline: one class, and the scores that follow from its share."""

import torch

from fer_core import models


def test_it_says_the_most_frequent_class_of_training_whatever_it_sees(tiny_clip, classes, make_batch):
    method = models.build("majority", tiny_clip, classes)
    batches = [make_batch(6), make_batch(5)]  # labels 0 1 2 3 0 1, then 0 1 2 3 0
    batches[1].label = torch.tensor([2, 2, 2, 3, 0])
    for _ in range(2):  # a second look counts anew
        method.prepare(batches)
        assert method.counts.tolist() == [3, 2, 4, 2]
    output = method(make_batch(7, seed=3))
    assert output.logits.argmax(1).tolist() == [2] * 7
    torch.testing.assert_close(output.logits.softmax(1)[0], torch.tensor([3.0, 2.0, 4.0, 2.0]) / 11, atol=1e-5, rtol=0)
    assert method.parameter_groups(1.0, 0.0) == []
