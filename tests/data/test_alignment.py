import math

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core import config
from fer_core.data import alignment
from fer_core.data.alignment import Alignment
from fer_core.errors import UserError
from fer_core.faces import CODES, PARSING, identity, render, scene
from fer_core.faces.canvas import EXTENT

SIZE = 128


def similarity(angle, scale, shift):
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


@pytest.fixture(scope="module")
def views():
    """One face seen twice: upright, and rolled, shifted and scaled; light from the front does not roll with it."""
    people, seen = identity.average(2), scene.studio(2)
    seen.light.zero_()
    seen.roll[1], seen.scale[:] = 0.3, torch.tensor([0.9, 0.6])
    seen.shift[1] = torch.tensor([0.15, -0.1])
    face = render(torch.zeros(2, len(CODES)), people, seen, SIZE, truth=True)
    images = (255 * face.image.permute(0, 2, 3, 1)).round().to(torch.uint8).numpy()
    # From the first view's pixels to the second's, as the scene says.
    middle = SIZE / 2
    known = similarity(0.3, 0.6 / 0.9, (0, 0))
    known[:, 2] = middle + np.array([0.15, -0.1]) * middle / EXTENT - known[:, :2] @ [middle, middle]
    return images, SIZE * face.landmarks.double().numpy(), face.parsing.numpy(), known


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.5, math.pi])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_umeyama_recovers_a_similarity(angle, scale):
    source = np.random.default_rng(0).normal(size=(5, 2)) * 50 + 100
    known = similarity(angle, scale, (7.0, -300.0))
    found = alignment.umeyama(source, alignment.apply(known, source))
    np.testing.assert_allclose(found, known, atol=1e-9)


def test_umeyama_is_the_least_squares_solution():
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(68, 2)), rng.normal(size=(68, 2))
    # In the plane the least squares over complex numbers, without a constraint, are the best similarity.
    s, t = source @ [1, 1j], target @ [1, 1j]
    (factor, shift), *_ = np.linalg.lstsq(np.stack([s, np.ones_like(s)], 1), t, rcond=None)
    expected = [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    np.testing.assert_allclose(alignment.umeyama(source, target), expected, atol=1e-12)


def test_umeyama_never_mirrors():
    source = np.random.default_rng(2).normal(size=(5, 2))
    found = alignment.umeyama(source, source * [-1, 1])
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_umeyama_refuses_points_without_extent(points):
    with pytest.raises(UserError, match="expected finite points apart"):
        alignment.umeyama(points, np.arange(10.0).reshape(5, 2))


def test_umeyama_refuses_other_shapes():
    with pytest.raises(ValueError, match="pairs of points"):
        alignment.umeyama(np.zeros((5, 2)), np.zeros((4, 2)))


def test_landmarks_tell_how_a_rendered_face_moved(views):
    _, landmarks, _, known = views
    np.testing.assert_allclose(alignment.umeyama(*landmarks)[:, :2], known[:, :2], atol=1e-4)
    # In shares of the picture, as landmarks are.
    assert np.abs(alignment.umeyama(*landmarks)[:, 2] - known[:, 2]).max() / SIZE < 1e-4


def warp_classes(classes, matrix, size):
    back = alignment.inverse(matrix).ravel().tolist()
    return np.asarray(Image.fromarray(classes).transform((size, size), Image.Transform.AFFINE, back))  # the nearest


@pytest.mark.parametrize("mode", ["eyes", "points"])
def test_the_crop_of_a_moved_face_is_that_of_the_unmoved_one(views, mode):
    images, landmarks, parsing, _ = views
    choice = Alignment(size=64, mode=mode)
    matrices = [alignment.from_points(choice, alignment.five_points(points)) for points in landmarks]
    first, second = (alignment.warp(image, matrix, 64) for image, matrix in zip(images, matrices, strict=True))
    faces = [warp_classes(classes, matrix, 64) for classes, matrix in zip(parsing, matrices, strict=True)]
    face = (faces[0] == faces[1]) & (faces[0] > 0) & (faces[0] < PARSING.index("hair"))
    assert face.mean() > 0.4
    apart = np.abs(first.astype(float) - second)[face]
    unaligned = np.abs(images[0].astype(float) - images[1]).mean()
    assert apart.mean() < 3.0
    assert apart.mean() < unaligned / 5
    moved = [alignment.apply(matrix, points) for matrix, points in zip(matrices, landmarks, strict=True)]
    np.testing.assert_allclose(*moved, atol=1e-3)


def test_eyes_come_exactly_into_their_places():
    choice = Alignment(size=100, right_eye=(0.3, 0.4), left_eye=(0.7, 0.5))
    points = np.array([[20.0, 90.0], [180.0, 20.0], [3.0, 3.0], [4.0, 4.0], [5.0, 5.0]])
    moved = alignment.apply(alignment.from_points(choice, points), points)
    np.testing.assert_allclose(moved[:2], [[30, 40], [70, 50]], atol=1e-9)


def test_points_of_the_template_come_exactly_into_their_places():
    choice = Alignment(size=112, mode="points")
    points = alignment.apply(similarity(0.5, 3.0, (10.0, 20.0)), choice.template)
    moved = alignment.apply(alignment.from_points(choice, points), points)
    np.testing.assert_allclose(moved, choice.template, atol=1e-9)


def test_the_template_is_an_upright_face():
    right, left, nose, right_mouth, left_mouth = Alignment(size=1000).template
    np.testing.assert_allclose([right, left], [[340, 460], [660, 460]])
    assert right[0] < right_mouth[0] < nose[0] < left_mouth[0] < left[0]
    assert left[1] < nose[1] < left_mouth[1] == pytest.approx(right_mouth[1])


def test_a_box_becomes_the_square_around_it_with_the_margin():
    choice = Alignment(size=60, mode="box", margin=0.25)
    matrix = alignment.from_box(choice, (10, 20, 30, 60))
    # The longer side 40 grows by a quarter on each side: a square of 60 around (20, 40).
    np.testing.assert_allclose(matrix, [[1, 0, 10], [0, 1, -10]])
    with pytest.raises(UserError, match="left < right"):
        alignment.from_box(choice, (10, 20, 10, 60))


def test_the_centre_square():
    matrix = alignment.from_centre(Alignment(size=50), height=100, width=300)
    np.testing.assert_allclose(alignment.apply(matrix, np.array([[100, 0], [200, 100]])), [[0, 0], [50, 50]])


def test_five_points_of_68():
    landmarks = np.random.default_rng(0).random((68, 2))
    right, left, nose, *mouth = alignment.five_points(landmarks)
    np.testing.assert_allclose(right, landmarks[[36, 37, 38, 39, 40, 41]].mean(0))
    np.testing.assert_allclose(left, landmarks[[42, 43, 44, 45, 46, 47]].mean(0))
    np.testing.assert_array_equal([nose, *mouth], landmarks[[30, 48, 54]])


def test_inverse():
    matrix = similarity(0.7, 2.0, (3.0, 4.0))
    points = np.random.default_rng(0).random((4, 2))
    np.testing.assert_allclose(alignment.apply(alignment.inverse(matrix), alignment.apply(matrix, points)), points)


def test_warp_by_whole_pixels_copies():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    moved = alignment.warp(image, similarity(0, 1, (-7, -5)), 30)
    np.testing.assert_array_equal(moved, image[5:35, 7:37])


def test_warp_averages_where_the_face_shrinks():
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(board[..., None].astype(np.uint8), 3, axis=2)
    small = alignment.warp(image, similarity(0.2, 0.25, (10, -10)), 32)
    inside = small[8:24, 8:24].astype(float)
    assert np.abs(inside - 127.5).max() < 12


def test_warp_is_black_outside():
    image = np.full((20, 20, 3), 200, dtype=np.uint8)
    half = alignment.warp(image, similarity(0, 1, (10, 0)), 20)
    assert not half[:, :9].any()
    assert (half[:, 11:] == 200).all()
    assert not alignment.warp(image, similarity(0, 0.5, (500, 500)), 20).any()
    assert not alignment.warp(image, similarity(0, 2, (500, 500)), 20).any()


@pytest.mark.parametrize(
    "change",
    [
        {"size": 112}, {"mode": "points"}, {"right_eye": [0.35, 0.46]}, {"left_eye": [0.65, 0.46]}, {"margin": 0.1},
        {"several": "centre"}, {"none": "error"},
    ],
)  # fmt: skip
def test_every_choice_is_in_the_digest(change):
    assert config.build(Alignment, change, "alignment").digest != Alignment().digest
    assert config.build(Alignment, change, "alignment").digest == config.build(Alignment, change, "alignment").digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 8}, "expected 16 to 4096 pixels, got 8"),
        ({"margin": -0.1}, "margin: expected 0 to 4"),
        ({"right_eye": (1.2, 0.4)}, r"places in 0..1 of the output, got \(1.2, 0.4\)"),
        ({"right_eye": (0.66, 0.4), "left_eye": (0.34, 0.4)}, "right eye on the viewer's left"),
        ({"mode": "nose"}, "mode: expected one of eyes, points, box"),
        ({"several": "all"}, "several: expected one of largest, centre"),
        ({"none": "guess"}, "none: expected one of skip, error, centre"),
        ({"version": 0}, "version: expected 1, got 0"),
    ],
)
def test_wrong_choices(change, message):
    with pytest.raises(UserError, match=message):
        Alignment(**change)
