"""Features whose entanglement is known: tight or mixed clusters around right-angled directions."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def clusters() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Gives features ``(C * size, C)`` around the classes' directions, with noise of the given size, and labels."""

    def make(directions, size: int = 12, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        centres = np.asarray(directions, dtype=np.float64)
        labels = np.repeat(np.arange(len(centres)), size)
        shaken = np.random.default_rng(seed).normal(size=(len(labels), centres.shape[1]))
        return centres[labels] + noise * shaken, labels

    return make
