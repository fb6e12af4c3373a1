"""People one by one: who comes with whom, when a method forgets, and that their order does not matter."""

import numpy as np
import pytest
import torch
from toy import Toy

from fer_core import engine
from fer_core.adapt.base import AdaptConfig, Adapted, TestTimeMethod
from fer_core.data import MemoryDataset, Transform
from fer_core.engine.personalising import personalise
from fer_core.engine.sources import Pixels
from fer_core.errors import UserError


class Drifting(TestTimeMethod):
    """Says of each video how many videos it has met since it last forgot."""

    name, Config = "drifting", AdaptConfig
    adapted_parameters = 1

    def __init__(self, source, config):
        super().__init__(source, config)
        self.met, self.sizes, self.resets = 0, [], 0

    def reset(self):
        self.met, self.resets = 0, self.resets + 1

    def adapt(self, videos):
        assert videos.label.unique().numel() == 1
        self.sizes.append(len(videos))
        brightness = videos.image.mean((1, 2, 3))
        logits = torch.stack([brightness, self.met + torch.arange(1.0, len(videos) + 1), -brightness], 1)
        self.met += len(videos)
        return Adapted(logits, logits, torch.stack([logits - 1, logits]), torch.arange(len(videos)))


SUBJECTS = np.array([5, 2, 5, 5, 2, 9, 2, 5])


def split(subjects=SUBJECTS):
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (8, 3, 8, 8), dtype=np.uint8)
    columns = {"image": image, "label": np.arange(8) % 3}
    if subjects is not None:
        columns["subject"] = torch.from_numpy(subjects)
    return MemoryDataset("toy", "test", ("a", "b", "c"), columns, "0", "")


def source(dataset):
    transform = Transform(8, (0.5,) * 3, (0.25,) * 3, train=False)
    return Pixels(dataset, transform, 4, 0, engine.Processes(torch.device("cpu")))


def met(dataset=None, **settings):
    method = Drifting(Toy(), AdaptConfig(**settings))
    return method, personalise(method, source(dataset or split()), "cpu")


def test_each_person_comes_whole_and_is_forgotten():
    method, said = met()
    assert method.sizes == [3, 4, 1]
    assert said.predictions.index.tolist() == list(range(8))
    assert said.predictions.labels.tolist() == (np.arange(8) % 3).tolist()
    count = said.predictions.logits[:, 1]
    for person in (2, 5, 9):
        assert count[person == SUBJECTS].tolist() == list(range(1, (person == SUBJECTS).sum() + 1))
    np.testing.assert_array_equal(said.passes[-1], said.predictions.logits)
    assert said.passes.shape == (2, 8, 3)
    assert said.windows.tolist() == (count - 1).tolist()


def test_videos_may_come_a_few_at_a_time():
    method, said = met(together=2)
    assert method.sizes == [2, 1, 2, 2, 1]
    _, whole = met()
    np.testing.assert_array_equal(said.predictions.logits, whole.predictions.logits)


@pytest.mark.parametrize(("reset", "resets", "last"), [("subject", 4, 1), ("video", 6, 1), ("never", 1, 8)])
def test_it_forgets_when_it_is_told_to(reset, resets, last):
    method, said = met(together=2, reset=reset)
    assert method.resets == resets  # one of them before the first person
    assert said.predictions.logits[5, 1] == last


def test_the_order_of_people_does_not_matter():
    _, one = met()
    _, other = met(split(np.array([1, 7, 1, 1, 7, 0, 7, 1])))  # the same people under other numbers
    np.testing.assert_array_equal(one.predictions.logits, other.predictions.logits)


def test_a_split_that_does_not_say_who_is_who_is_refused():
    with pytest.raises(UserError, match="expected subjects, got none"):
        met(split(None))
