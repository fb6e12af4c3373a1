"""Two-dimensional maps of features, UMAP beside PCA, and how far their neighbourhoods can be trusted."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fer_core.entanglement.estimates import Array, unit_rows
from fer_core.errors import UserError, unknown

Method = Literal["umap", "pca"]
METHODS: tuple[Method, ...] = ("umap", "pca")


@dataclass(frozen=True)
class Map:
    """A map with what its seeds say of it.

    Args:
        method: ``umap`` or ``pca``.
        coordinates: ``(N, 2)`` float32, of the first seed.
        trust: Trustworthiness with each seed.
    """

    method: Method
    coordinates: np.ndarray
    trust: tuple[float, ...]


def embed(
    features: Array, method: Method = "umap", seed: int = 0, *, neighbours: int = 15, spread: float = 0.1
) -> np.ndarray:
    """Lays features out in two dimensions, by cosine.

    UMAP (McInnes et al., 2018) keeps neighbourhoods and gives up distances; PCA keeps the directions of the largest
    variance and has no seed. On one machine a seed always gives the same UMAP; on another one it may give another.

    Args:
        features: ``(N, D)``.
        method: ``umap`` or ``pca``.
        seed: Of UMAP.
        neighbours: UMAP's neighbourhood, at least 2 and below N.
        spread: UMAP's ``min_dist``, the least distance of points on the map.

    Returns:
        ``(N, 2)`` float32.

    Raises:
        UserError: If features are not ``(N, D)``, the method is unknown, or the neighbourhood does not fit.
    """
    unit = unit_rows(features, "features")
    if method not in METHODS:
        raise unknown("map", method, METHODS)
    if not 2 <= neighbours < len(unit):
        raise UserError(f"neighbours: expected 2 to {len(unit) - 1}, got {neighbours}; take fewer, or more samples")
    if method == "pca":
        from sklearn.decomposition import PCA

        return PCA(2, svd_solver="full").fit_transform(unit).astype(np.float32)
    # One job: with more of them a seed no longer fixes the result.
    reducer = _umap().UMAP(n_neighbors=neighbours, min_dist=spread, metric="cosine", random_state=seed, n_jobs=1)
    with _threads_kept():
        return np.asarray(reducer.fit_transform(unit.astype(np.float32)), dtype=np.float32)


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Gives torch back its number of threads.

    Numba, which UMAP is compiled by, sets OpenMP's for the whole process to all cores. Where other processes use those
    too, as when a book is built, each operation of torch then waits for a thread that does not run: drawing faces took
    fifteen times as long.
    """
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _umap() -> Any:
    with warnings.catch_warnings():
        # umap tells at its import that it finds no TensorFlow, which only its parametric variant needs.
        warnings.simplefilter("ignore", ImportWarning)
        import umap  # compiles for some 20 seconds at its first import
    return umap


def trustworthiness(features: Array, coordinates: Array, neighbours: int = 15) -> float:
    """How much of a map's neighbourhoods is real (Venna and Kaski, 2001): 1 all, about 0.5 for a random layout.

    Args:
        features: ``(N, D)``.
        coordinates: ``(N, 2)``.
        neighbours: Size of the neighbourhoods, at least 1 and below N / 2.

    Raises:
        UserError: If shapes do not fit, or the neighbourhood is too large.
    """
    from sklearn.manifold import trustworthiness as trust

    unit, places = unit_rows(features, "features"), np.asarray(coordinates)
    if len(places) != len(unit):
        raise UserError(f"coordinates: expected {len(unit)} rows, got {len(places)}; pass the map of these features")
    if not 1 <= neighbours < len(unit) / 2:
        raise UserError(f"neighbours: expected 1 to below {len(unit) / 2:g}, got {neighbours}; take fewer")
    return float(trust(unit, places, n_neighbors=neighbours, metric="cosine"))


def maps(features: Array, seeds: Sequence[int] = (0, 1, 2), neighbours: int = 15) -> list[Map]:
    """PCA, which has no seed, beside UMAP with several.

    Args:
        features: ``(N, D)``.
        seeds: Of UMAP; the first one's map is kept.
        neighbours: Of UMAP and of the trustworthiness of both.

    Raises:
        UserError: As :func:`embed`, or if there is no seed.
    """
    if not seeds:
        raise UserError("seeds: expected at least one, got none; pass (0,)")
    flat = embed(features, "pca", neighbours=neighbours)
    laid = [embed(features, "umap", seed, neighbours=neighbours) for seed in seeds]
    return [
        Map("pca", flat, (trustworthiness(features, flat, neighbours),)),
        Map("umap", laid[0], tuple(trustworthiness(features, each, neighbours) for each in laid)),
    ]


def aligned(
    features: Mapping[str, Array], seeds: Sequence[int] = (0,), neighbours: int = 15, spread: float = 0.1
) -> dict[str, Map]:
    """UMAP of several methods' features of the same samples in one layout, so that maps can be compared by eye.

    Each map is tied to the one before it: a sample keeps its place as far as its neighbourhoods allow (aligned UMAP of
    umap-learn).

    Args:
        features: By method ``(N, D)``, the same N samples in the same order; at least two methods.
        seeds: The first one's maps are kept.
        neighbours: Of UMAP and of the trustworthiness.
        spread: UMAP's ``min_dist``.

    Returns:
        By method its map, with its trustworthiness for each seed.

    Raises:
        UserError: If there are fewer than two methods or no seed, samples differ in number, or the neighbourhood does
            not fit.
    """
    rows = {name: unit_rows(each, name).astype(np.float32) for name, each in features.items()}
    sizes = {len(each) for each in rows.values()}
    if len(rows) < 2 or len(sizes) != 1 or not seeds:
        raise UserError(
            f"expected at least two methods with as many samples each, and a seed, got {len(rows)} with "
            f"{sorted(sizes)} samples and {len(seeds)} seeds; pass features of the same samples"
        )
    (size,) = sizes
    if not 2 <= neighbours < size / 2:
        raise UserError(f"neighbours: expected 2 to below {size / 2:g}, got {neighbours}; take fewer, or more samples")
    same = [{place: place for place in range(size)}] * (len(rows) - 1)
    laid = []
    for seed in seeds:
        reducer = _umap().AlignedUMAP(n_neighbors=neighbours, min_dist=spread, metric="cosine", random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_jobs value")  # a seed takes one job, which is what we want
            laid.append(reducer.fit(list(rows.values()), relations=same).embeddings_)
    return {
        name: Map(
            "umap",
            np.asarray(laid[0][place], dtype=np.float32),
            tuple(trustworthiness(each, layout[place], neighbours) for layout in laid),
        )
        for place, (name, each) in enumerate(rows.items())
    }
