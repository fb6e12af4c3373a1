import numpy as np
import pytest
from known import KnownFaces

from fer_core.data import alignment
from fer_core.data.alignment import Alignment
from fer_core.data.faces_in_images import FacePlacer, FoundFace, Origin, choose, pixel_key
from fer_core.errors import UserError


def image(number):
    return np.full((40, 60, 3), number, dtype=np.uint8)


def face(x, y, side=10.0):
    """A face around (x, y) whose five points are an upright template."""
    points = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.25], [0.15, 0.25]]) * side + [x, y]
    return FoundFace((x - side / 2, y - side / 2, x + side / 2, y + side / 2), points)


def placer(known, **choices):
    return FacePlacer(Alignment(**choices), KnownFaces((image(number), faces) for number, faces in known.items()))


def centre_of(matrix, size=224):
    """Where the output's centre lies in the photograph."""
    return alignment.apply(alignment.inverse(matrix), np.array([size / 2, size / 2]))


def test_the_box_of_landmarks():
    landmarks = np.random.default_rng(0).random((68, 2)) * 100
    found = FoundFace.of(landmarks, 0.5)
    assert found.box == (*landmarks.min(0), *landmarks.max(0))
    np.testing.assert_array_equal(found.points, alignment.five_points(landmarks))
    assert found.area == pytest.approx(np.prod(np.ptp(landmarks, axis=0)))


def test_choose():
    small, large, left = face(32, 18, 6.0), face(50, 30, 20.0), face(5, 5, 8.0)
    faces = [left, small, large]
    assert choose([], "largest", 40, 60) is None
    assert choose(faces, "largest", 40, 60) is large
    assert choose(faces, "centre", 40, 60) is small
    assert choose(faces, "largest", 40, 60, previous=face(8, 8)) is left


def test_pixel_key_tells_shapes_apart():
    pixels = np.arange(60, dtype=np.uint8)
    assert pixel_key(pixels.reshape(4, 5, 3)) != pixel_key(pixels.reshape(5, 4, 3))
    assert pixel_key(pixels.reshape(4, 5, 3)) == pixel_key(pixels.reshape(4, 5, 3)[:, :, ::-1][:, :, ::-1])


def test_photographs_are_placed_and_counted():
    place = placer({1: [face(20, 20)], 2: [face(10, 10, 6.0), face(40, 20, 12.0)], 3: []}, mode="box", margin=0.0)
    np.testing.assert_allclose(centre_of(place.photograph(image(1))), [20, 20])
    np.testing.assert_allclose(centre_of(place.photograph(image(2))), [40, 20])
    assert place.photograph(image(3)) is None
    assert place.counts == {
        "photographs": 3, "photographs with one face": 1, "photographs with several faces": 1,
        "photographs with no face": 1, "photographs skipped": 1,
    }  # fmt: skip


def test_without_a_face_the_centre():
    place = placer({}, none="centre")
    np.testing.assert_allclose(centre_of(place.photograph(image(1))), [30, 20])
    assert place.counts["photographs centred"] == 1


def test_without_a_face_an_error():
    with pytest.raises(UserError, match=r"a/b.jpg: expected a face, known found none"):
        placer({}, none="error").photograph(image(1), Origin("a/b.jpg"))


def test_eyes_come_into_their_places():
    place = placer({1: [face(20, 20)]})
    found = face(20, 20)
    moved = alignment.apply(place.photograph(image(1)), found.points[:2])
    np.testing.assert_allclose(moved, place.alignment.template[:2], atol=1e-9)


@pytest.mark.parametrize("mode", ["eyes", "points"])
def test_boxes_alone_do_for_mode_box_only(mode):
    only_box = {1: [FoundFace((0.0, 0.0, 10.0, 10.0))]}
    assert placer(only_box, mode="box").photograph(image(1)) is not None
    with pytest.raises(UserError, match=f"mode {mode!r}: expected faces with five points"):
        placer(only_box, mode=mode).photograph(image(1))


def test_a_clip_stays_with_one_person_and_holds_its_place():
    known = {
        1: [],
        2: [face(10, 20, 12.0), face(50, 20, 8.0)],
        3: [face(12, 20, 6.0), face(50, 20, 14.0)],  # the other one is larger now
        4: [],
        5: [face(14, 20, 6.0)],
    }
    place = placer(known, mode="box")
    asked = []

    def read(number):
        asked.append(number)
        return image(number + 1)

    matrices = place.clip(range(5), read, "clips/7")
    np.testing.assert_allclose([centre_of(matrix)[0] for matrix in matrices], [10, 10, 12, 12, 14])
    assert asked == [0, 1, 2, 3, 4]
    assert place.counts["frames held"] == 2
    assert place.counts["frames with several faces"] == 2
    assert place.counts["clips"] == 1


@pytest.mark.parametrize(("none", "expected"), [("skip", None), ("centre", 3)])
def test_a_clip_without_any_face(none, expected):
    place = placer({}, none=none)
    matrices = place.clip(range(3), lambda number: image(0), "clips/7")
    assert (matrices and len(matrices)) == expected
    assert place.counts["clips skipped" if none == "skip" else "clips centred"] == 1


def test_a_clip_without_any_face_may_be_an_error():
    with pytest.raises(UserError, match="clips/7: expected a face"):
        placer({}, none="error").clip(range(3), lambda number: image(0), "clips/7")


def test_the_digest_stands_for_alignment_and_finder():
    first, second = placer({1: [face(20, 20)]}), placer({1: [face(21, 20)]})
    assert len({first.digest, second.digest, placer({1: [face(20, 20)]}, size=64).digest}) == 3
    assert first.digest == placer({1: [face(20, 20)]}).digest
