"""An adaptation that is watched is the adaptation itself; its numbers equal those of loops over videos and windows."""

import numpy as np
import pytest
import torch

from fer_core import adapt
from fer_core.losses.entropy import entropy

LARGE = {"window": 4, "steps": 3, "lr": 0.05}  # steps large enough to change what is chosen and said


@pytest.mark.parametrize("choice", ["hard", "soft", "several"])
def test_following_changes_nothing(choice, source, videos):
    settings, batch = {**LARGE, "choice": choice}, videos()
    said = adapt.build("clip-autt", source, settings).adapt(adapt.unlabelled(batch))
    method = adapt.build("clip-autt", source, settings)
    course = adapt.follow(method, batch)
    assert np.array_equal(course.probabilities, said.passes.softmax(-1).numpy())
    assert course.chosen[-1].tolist() == said.windows.tolist()
    # A second person without a reset goes on from there, as `adapt` does.
    again = adapt.follow(method, batch)
    assert np.abs(again.probabilities[0] - course.probabilities[-1]).max() < 1e-6
    assert np.abs(again.probabilities[0] - course.probabilities[0]).max() > 1e-3


def test_labels_never_reach_the_method(source, videos):
    batch, seen = videos(), []
    frames = source.frames
    source.frames = lambda given: [seen.append(given), frames(given)][1]
    adapt.follow(adapt.build("clip-autt", source, LARGE), batch)
    (given,) = seen
    assert not set(given.label.tolist()) & {0, 1}
    assert (given.votes, given.caption) == (None, None)
    assert set(batch.label.tolist()) == {0, 1}


def test_every_pass_equals_a_loop_with_that_many_steps(source, videos):
    batch = videos()
    course = adapt.follow(adapt.build("clip-autt", source, LARGE), batch)
    assert len(course.entropies) == 4
    assert (course.chosen[0] != course.chosen[-1]).any()
    for steps in range(4):
        method = adapt.build("clip-autt", source, {**LARGE, "steps": steps})
        method.adapt(adapt.unlabelled(batch))
        with torch.no_grad():
            texts, units = method.prompts.texts(), method.prompts.units()
            for number, video in enumerate(batch.features.class_token):
                windows = [source.video(video[None, at : at + 4]) for at in range(4)]
                unsure = [entropy(source.classifier(each @ units.T)).item() for each in windows]
                assert course.entropies[steps, number] == pytest.approx(unsure, abs=1e-5)
                best = int(np.argmin(unsure))
                assert course.chosen[steps, number] == best
                likeness = [5 * torch.dot(windows[best][0], unit).item() for unit in units]
                assert course.likeness[steps, number] == pytest.approx(likeness, abs=1e-4)
                told = source.classify(windows[best], units).softmax(1)[0]
                assert course.probabilities[steps, number] == pytest.approx(told.tolist(), abs=1e-5)
                assert course.unsure[steps, number] == pytest.approx(entropy(told.log()).item(), abs=1e-5)
            for unit, phrase in enumerate(source.phrases[:5]):
                moved = method.prompts.context[unit] - method.prompts.first[unit]
                mean = sum(vector.norm().item() for vector in moved) / 4
                assert course.moved[steps, unit] == pytest.approx(mean, abs=1e-6)
                plain = source.clip.encode_text([f"{phrase}."])[0]
                cosine = torch.dot(plain, texts[unit]) / plain.norm() / texts[unit].norm()
                assert course.words[steps, unit] == pytest.approx(cosine.item(), abs=1e-5)


def test_some_videos_of_a_course(source, videos):
    course = adapt.follow(adapt.build("clip-autt", source, LARGE), videos())
    some = course.take([3, 0])
    for name in ("entropies", "chosen", "probabilities", "likeness", "unsure"):
        assert np.array_equal(getattr(some, name), getattr(course, name)[:, [3, 0]])
    assert some.moved is course.moved
    assert some.words is course.words
