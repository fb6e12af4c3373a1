"""A mirrored face: sides change places, and mirroring twice changes nothing."""

import torch

from fer_core.data import mirror
from fer_core.faces.action_units import CODES
from fer_core.faces.canvas import PARSING


def test_words_change_sides() -> None:
    text = "a bright face, left lip corner up, head turned right"
    assert mirror.swap_sides(text) == "a bright face, right lip corner up, head turned left"
    assert mirror.swap_sides(mirror.swap_sides(text)) == text
    text = "Left brow raised, the right one still. RIGHT: the leftmost tooth, a gaze rightward; outright bright"
    swapped = "Right brow raised, the left one still. LEFT: the rightmost tooth, a gaze leftward; outright bright"
    assert (mirror.swap_sides(text), mirror.swap_sides(swapped)) == (swapped, text)


def test_partners_keep_names_without_a_side() -> None:
    assert mirror.partners(["nose", "left eye", "right eye", "right ear"]) == [0, 2, 1, 3]


def test_action_units_change_sides() -> None:
    units = torch.arange(float(len(CODES)))
    mirrored = mirror.action_units(units)
    moved = {CODES[place]: CODES[int(value)] for place, value in enumerate(mirrored) if place != value}
    expected = [("AU12L", "AU12R"), ("AU14L", "AU14R"), ("AU51", "AU52"), ("AU61", "AU62")]
    assert moved == {**dict(expected), **{second: first for first, second in expected}}
    assert torch.equal(mirror.action_units(mirrored), units)
    clip = torch.rand(2, 5, len(CODES))
    assert torch.equal(mirror.action_units(clip)[1, 3], mirror.action_units(clip[1, 3]))


def test_parsing_changes_places_and_classes() -> None:
    classes = torch.full((2, 4), PARSING.index("skin"), dtype=torch.uint8)
    classes[0, 0], classes[1, 1] = PARSING.index("right eye"), PARSING.index("nose")
    mirrored = mirror.parsing(classes)
    assert mirrored.dtype == torch.uint8
    assert (PARSING[mirrored[0, 3]], PARSING[mirrored[1, 2]], PARSING[mirrored[0, 0]]) == ("left eye", "nose", "skin")
    assert torch.equal(mirror.parsing(mirrored), classes)


def test_a_symmetric_face_is_its_own_mirror_image() -> None:
    # Corners of the iBUG markup: the face's right (the viewer's left) has the low numbers.
    points = torch.rand(68, 2, generator=torch.Generator().manual_seed(0))
    pairs = [(0, 16), (8, 8), (17, 26), (21, 22), (27, 27), (30, 30), (31, 35), (33, 33), (36, 45), (37, 44), (38, 43)]
    pairs += [
        (39, 42),
        (40, 47),
        (41, 46),
        (48, 54),
        (50, 52),
        (51, 51),
        (55, 59),
        (57, 57),
        (60, 64),
        (61, 63),
        (65, 67),
    ]
    for right, left in pairs:
        points[left] = torch.tensor([1 - points[right, 0] if right != left else 0.5, points[right, 1]])
    mirrored = mirror.landmarks(points)
    for right, left in pairs:
        assert torch.allclose(mirrored[[right, left]], points[[right, left]])
    assert torch.allclose(mirror.landmarks(mirrored), points, atol=1e-6)
