"""What a training shows its method in each epoch, at which rate and in which precision."""

from typing import Any

import numpy as np
import pytest
import torch
from toy import TRAIN, Tower, Toy, fitted

from fer_core import engine, hardware
from fer_core.data import Augmentation, Transform
from fer_core.data.loading import balanced_order
from fer_core.engine import Training


def test_a_training_warms_up() -> None:
    _, fit = fitted(Training(epochs=4, batch_size=128, optimizer="sgd", lr=0.1, warmup=0.5, schedule="constant"))
    assert [row["lr"] for row in fit.history] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1])


def test_a_warm_up_is_rounded() -> None:
    assert engine.learning_rate_factor(4, 20, 0.22, "constant") == 1.0
    assert engine.learning_rate_factor(4, 20, 0.23, "constant") == pytest.approx(5 / 6)


@pytest.mark.parametrize("cache_features", [True, False])
def test_a_balanced_training_draws_its_epochs(cache_features: bool) -> None:
    class Notes(Toy):
        def losses(self, batch: Any, output: Any) -> Any:
            self.seen = [*getattr(self, "seen", []), *batch.index.tolist()]
            return super().losses(batch, output)

    training = Training(epochs=2, batch_size=16, sampling="balanced", cache_features=cache_features)
    toy, _ = fitted(training, seed=5, method=Notes)
    drawn = [balanced_order(TRAIN.labels.numpy(), 5, epoch) for epoch in (1, 2)]
    assert toy.seen == np.concatenate(drawn).tolist()


def test_prepares_on_what_is_not_augmented() -> None:
    class Looks(Toy):
        frozen_image_tower = False

        def prepare(self, batches: Any) -> None:
            self.looked = torch.cat([batch.image for batch in batches])

    toy, _ = fitted(Training(epochs=1, batch_size=16, augmentation=Augmentation(erasing=1.0)), method=Looks)
    plain = Transform(8, Tower.mean, Tower.std)(TRAIN.take(range(70)))
    assert torch.equal(toy.looked, plain.image)


def test_augments_anew_in_every_epoch_and_by_the_seed() -> None:
    class Looks(Toy):
        def losses(self, batch: Any, output: Any) -> Any:
            order = batch.index.argsort()
            self.looked = [*getattr(self, "looked", []), batch.image[order]]
            return super().losses(batch, output)

    training = Training(epochs=2, batch_size=70, augmentation=Augmentation(erasing=1.0))
    (one, _), (other, _) = (fitted(training, seed=seed, method=Looks) for seed in (0, 1))
    assert not torch.equal(one.looked[0], one.looked[1])
    assert not torch.equal(one.looked[0], other.looked[0])


def test_a_method_hears_of_each_epochs_end_before_it_is_evaluated() -> None:
    class Hears(Toy):
        def forward(self, batch: Any) -> Any:
            if not self.training:
                self.heard = [*getattr(self, "heard", []), len(self.ended)]
            return super().forward(batch)

    toy, _ = fitted(Training(epochs=3, batch_size=128), method=Hears)
    assert toy.ended == [(1, 3), (2, 3), (3, 3)]
    assert toy.heard == [1, 1, 2, 2, 3, 3]  # validation and test


def test_training_and_evaluation_compute_in_the_precision_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks(Toy):
        def forward(self, batch: Any) -> Any:
            output = super().forward(batch)
            self.kinds = {*getattr(self, "kinds", ()), (self.training, output.logits.dtype)}
            return output

    monkeypatch.setattr(hardware, "computes_bf16", lambda device: True)
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        toy, _ = fitted(Training(epochs=1, batch_size=16, precision=precision), method=Looks)
        assert toy.kinds == {(True, kind), (False, kind)}
