"""A FERPlus of a few noise images in the official layout, and a cache of its own."""

import csv

import numpy as np
import pytest
from PIL import Image

from fer_core import experiments

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
# The official file's order of vote columns differs from that of the classes.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
PER_CLASS = {"FER2013Train": 4, "FER2013Valid": 2, "FER2013Test": 3}


def write_ferplus(root):
    """Writes the three folders; one test image of each class is also a training image."""
    draw = np.random.default_rng(0)
    repeated = {}
    for stem, count in PER_CLASS.items():
        folder = root / stem
        folder.mkdir(parents=True)
        rows = []
        for name in CLASSES:
            for number in range(count):
                pixels = draw.integers(0, 256, (48, 48), dtype=np.uint8)
                if stem == "FER2013Train" and number == 0:
                    repeated[name] = pixels
                if stem == "FER2013Test" and number == 0:
                    pixels = repeated[name]
                file = f"{stem}-{name}-{number}.png"
                Image.fromarray(pixels).save(folder / file)
                rows.append([file, "(0, 0, 48, 48)", *(10 if vote == name else 0 for vote in VOTES)])
        with (folder / "label.csv").open("w", newline="") as target:
            csv.writer(target).writerows(rows)


@pytest.fixture
def ferplus(tmp_path, monkeypatch):
    """The folder of a miniature FERPlus; no other data or cache is in reach."""
    root = tmp_path / "data"
    write_ferplus(root)
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FER_DATA_ROOT", raising=False)
    return root


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A cache of rendered faces that the tests of a file share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run_with(faces, tmp_path, monkeypatch):
    """Gives a function that makes smoke runs with some settings, and others over them."""
    monkeypatch.setenv("FER_CACHE", str(faces))

    def of(settings):
        def call(name, overrides=None, folder="records", **options):
            return experiments.run(
                name, "smoke", device="cpu", overrides={**settings, **(overrides or {})},
                records_dir=tmp_path / folder, progress=False, **options,
            )  # fmt: skip

        return call

    return of
