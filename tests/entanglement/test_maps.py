"""Maps: seeded, true to neighbourhoods that are there, and honest where there are none."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer_core import entanglement
from fer_core.errors import UserError


@pytest.fixture
def features(clusters):
    """Five tight clusters in eight dimensions."""
    return clusters(np.eye(8)[:5], size=24, noise=0.15)


def test_pca_keeps_the_directions_of_largest_variance(clusters):
    x, _ = clusters([[1, 0, 0], [0, 1, 0]], size=30, noise=0.05)
    flat = entanglement.embed(x, "pca")
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    assert flat.shape == (60, 2)
    assert flat.dtype == np.float32
    assert np.linalg.norm(flat, axis=0) == pytest.approx(values[:2], rel=1e-5)


def test_trustworthiness_is_one_for_the_map_itself_and_low_for_a_shuffled_one():
    angle = np.sort(np.random.default_rng(1).uniform(0, 3, 60))  # no two gaps alike, so no ties
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert entanglement.trustworthiness(circle, circle, 5) == pytest.approx(1)
    shuffled = np.random.default_rng(0).permutation(circle)
    assert entanglement.trustworthiness(circle, shuffled, 5) < 0.65


def test_umap_is_seeded_and_keeps_neighbourhoods(features):
    x, labels = features
    pca, umap = entanglement.maps(x, seeds=(3, 4), neighbours=10)
    assert (pca.method, umap.method) == ("pca", "umap")
    assert (len(pca.trust), len(umap.trust)) == (1, 2)
    assert np.array_equal(umap.coordinates, entanglement.embed(x, "umap", 3, neighbours=10))
    assert not np.array_equal(umap.coordinates, entanglement.embed(x, "umap", 4, neighbours=10))
    # Two dimensions hold five clusters in UMAP's way, not in PCA's.
    assert min(umap.trust) > pca.trust[0]
    centres = np.stack([umap.coordinates[labels == label].mean(axis=0) for label in range(5)])
    nearest = np.linalg.norm(umap.coordinates[:, None] - centres, axis=-1).argmin(axis=1)
    assert (nearest == labels).all()


def test_umap_leaves_torch_its_threads(features, monkeypatch):
    """As numba does not: it gives OpenMP all cores."""
    before = torch.get_num_threads()

    class Numba:
        def __init__(self, **_):
            pass

        def fit_transform(self, x):
            torch.set_num_threads(before + 1)
            return x[:, :2]

    monkeypatch.setattr(import_module("fer_core.entanglement.maps"), "_umap", lambda: SimpleNamespace(UMAP=Numba))
    assert entanglement.embed(features[0]).shape == (len(features[0]), 2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: entanglement.embed(x, "tsne"), "unknown map 'tsne'; known: pca, umap"),
        (lambda x: entanglement.embed(x, neighbours=120), "neighbours: expected 2 to 119, got 120"),
        (lambda x: entanglement.trustworthiness(x, x[:3]), "coordinates: expected 120 rows, got 3"),
        (lambda x: entanglement.trustworthiness(x, x, 60), "neighbours: expected 1 to below 60, got 60"),
        (lambda x: entanglement.maps(x, ()), "seeds: expected at least one"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, features):
    with pytest.raises(UserError, match=message):
        call(features[0])


def test_aligned_maps_keep_samples_in_their_places():
    generator = np.random.default_rng(0)
    centres = 4 * generator.standard_normal((4, 12))
    labels = np.arange(120) % 4
    first = centres[labels] + generator.standard_normal((120, 12))
    second = first + 0.2 * generator.standard_normal((120, 12))
    found = entanglement.aligned({"one": first, "two": second}, seeds=(0, 1), neighbours=10)
    assert list(found) == ["one", "two"]
    one, two = found["one"], found["two"]
    assert one.coordinates.shape == (120, 2)
    assert len(one.trust) == 2
    assert min(one.trust) > 0.8
    moved = np.linalg.norm(one.coordinates - two.coordinates, axis=1).mean()
    apart = np.linalg.norm(one.coordinates - two.coordinates[generator.permutation(120)], axis=1).mean()
    assert moved < 0.3 * apart
    assert one.trust[0] == pytest.approx(entanglement.trustworthiness(first, one.coordinates, 10))


@pytest.mark.parametrize(("features", "message"), [
    ({"one": np.ones((40, 3))}, "at least two methods"),
    ({"one": np.ones((40, 3)), "two": np.ones((39, 3))}, "as many samples"),
    ({"one": np.ones((20, 3)), "two": np.ones((20, 3))}, "neighbours: expected 2 to below 10"),
])  # fmt: skip
def test_aligned_maps_of_other_samples_are_refused(features, message):
    with pytest.raises(UserError, match=message):
        entanglement.aligned(features)
