"""Random numbers of people and views, the same in every version of torch."""

import torch

from fer_core.faces import draws


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(123)


def test_numbers_are_those_of_every_version():
    """Written down with torch 2.15, where torch's own functions draw the same; torch 2.6's do not."""
    weights = torch.tensor([[0.1, 0.2, 0.7], [0.0, 1.0, 1.0]]).repeat(6, 1)
    assert draws.choose(weights, seeded()).tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 1, 2, 2, 1]
    assert draws.seeds(4, seeded()).tolist() == [914636141, 1840268610, 819844194, 941243409]


def test_choices_follow_their_weights():
    weights = torch.tensor([[1.0, 0.0, 3.0, 4.0]])
    counts = torch.bincount(draws.choose(weights.repeat(80_000, 1), seeded()), minlength=4)
    assert counts[1] == 0
    expected = 80_000 * weights[0] / weights.sum()
    # Four standard deviations of a binomial count.
    assert (counts - expected).abs().le(4 * (expected * (1 - expected / 80_000)).sqrt()).all()


def test_seeds_lie_evenly_from_0_to_31_bits():
    found = draws.seeds(80_000, seeded())
    assert found.min() >= 0
    assert found.max() < 2**31
    eighths = torch.bincount(found // 2**28, minlength=8)
    assert (eighths - 10_000).abs().max() < 400
