"""Duplicates are found by their pixels, against a naive comparison of all pairs."""

import numpy as np

from fer_core.data import duplicates


def test_finds_what_comparing_all_pairs_finds() -> None:
    random = np.random.default_rng(0)
    pool = random.integers(0, 256, (20, 5, 5), dtype=np.uint8)
    images = {name: pool[random.integers(0, 20, size)] for name, size in (("train", 15), ("test", 12))}
    labels = {name: random.integers(0, 3, len(drawn)) for name, drawn in images.items()}
    hashes = {name: duplicates.pixel_hashes(drawn) for name, drawn in images.items()}
    same = (images["test"][:, None] == images["train"][None]).all(axis=(2, 3))
    assert duplicates.found_in(hashes["test"], hashes["train"]).tolist() == same.any(axis=1).tolist()

    report = duplicates.report({name: (hashes[name], labels[name]) for name in images})
    agree = (same & (labels["test"][:, None] == labels["train"][None])).any(axis=1)
    assert report["test in train"] == {
        "images": int(same.any(axis=1).sum()),
        "conflicts": int((same.any(axis=1) & ~agree).sum()),
    }
    for name in images:
        twins = (images[name][:, None] == images[name][None]).all(axis=(2, 3))
        groups = {tuple(row) for row in twins[twins.sum(axis=1) > 1].tolist()}
        mixed = sum(len(set(labels[name][np.array(group)])) > 1 for group in groups)
        assert report[f"within {name}"] == {
            "images": int((twins.sum(axis=1) > 1).sum()),
            "groups": len(groups),
            "conflicts": mixed,
        }


def test_one_pixel_makes_another_image() -> None:
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[1, 2, 2] = 1
    first, second = duplicates.pixel_hashes(image)
    assert first != second
    assert duplicates.pixel_hashes(image[:1].copy()) == [first]
