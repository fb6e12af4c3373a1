"""What experiments say that their ``full`` profile gives is what the committed records of three seeds gave."""

import statistics
from collections import defaultdict

import pytest

from fer_core import clip, config, data, experiments, models, records
from fer_core.experiments import measuring


def _scores():
    """Percent of each experiment's plain full runs, by experiment and score."""
    found = defaultdict(lambda: defaultdict(list))
    for record in records.iterate():
        if record.profile == "full" and record.variant is None and not record.overrides:
            for name in ("war", "uar"):
                found[record.experiment][name].append(100 * record.metrics[name])
    return found


@pytest.fixture(scope="module")
def scores():
    return _scores()


@pytest.mark.parametrize("name", experiments.names())
def test_expected_scores_are_those_of_the_records(name, scores):
    expected, seen = experiments.load(name).expected, scores.get(name, {"war": []})
    if len(seen["war"]) < 3:
        assert expected is None
        return
    assert expected is not None
    assert set(expected) == {"war", "uar"}
    for score, (low, high) in expected.items():
        assert low <= min(seen[score]) <= max(seen[score]) <= high
        # Wide enough for another machine's rounding, and no wider than the seeds are apart.
        assert high - low <= 1.5 + 8 * statistics.stdev(seen[score])


@pytest.fixture(scope="module")
def stills():
    """The embedded CLIP, and faces as a method gets them."""
    tower = clip.load("embedded")
    transform = data.Transform(tower.image_size, tower.mean, tower.std, train=False)
    return tower, transform(data.open("facs-still-8", "test", limit=16).take(range(16)), 0, 0)


@pytest.mark.parametrize("name", [name for name in experiments.names() if name.endswith("-facs-still-8")])
def test_operations_of_the_records_are_those_of_todays_code(name, stills):
    tower, faces = stills
    seen = {}
    for record in records.iterate(experiment=name):
        key = config.digest(record.config["model"])
        if key not in seen:
            method = models.build(record.method, tower, record.metrics["classes"], record.config["model"])
            method.prepare([faces])
            seen[key] = measuring.flops(method, faces.take([0]))
        assert record.flops == seen[key], record.path
    assert seen
