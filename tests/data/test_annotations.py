import numpy as np
import pytest
from known import KnownFaces

from fer_core.data import alignment, annotations
from fer_core.data.annotations import (
    Annotation,
    AnnotatorOptions,
    FinderAnnotator,
    annotator,
    average_landmarks,
    finder,
    nearest_filled,
)
from fer_core.data.face_files import FaceFiles
from fer_core.data.faces_in_images import FoundFace, Origin
from fer_core.data.polygons import parsing_map
from fer_core.errors import UserError

IMAGE = np.zeros((60, 40, 3), dtype=np.uint8)


def annotation(number):
    return Annotation(np.full((68, 2), number, dtype=np.float32), np.zeros((60, 40), dtype=np.uint8))


def test_a_finders_landmarks():
    landmarks = np.array(average_landmarks()) * [40, 60]
    other = landmarks * 0.5
    known = KnownFaces([(IMAGE, [FoundFace.of(other), FoundFace.of(landmarks)])])
    found = FinderAnnotator(known).annotate(IMAGE)
    np.testing.assert_allclose(found.landmarks, average_landmarks(), atol=1e-6)
    np.testing.assert_array_equal(found.parsing, parsing_map(found.landmarks, 60, 40))
    assert FinderAnnotator(known).annotate(IMAGE + 1) is None
    assert FinderAnnotator(known).version != FinderAnnotator(known, "centre").version


def test_a_finder_without_landmarks():
    known = KnownFaces([(IMAGE, [FoundFace((0.0, 0.0, 5.0, 5.0))])])
    with pytest.raises(UserError, match="expected 68 landmarks, got a box"):
        FinderAnnotator(known).annotate(IMAGE)


def test_annotators_by_name(tmp_path):
    with pytest.raises(UserError, match="expected their folder, got none"):
        annotator(AnnotatorOptions("files"))
    with pytest.raises(UserError, match="unknown face finder 'mediapip'; did you mean 'mediapipe'"):
        finder("mediapip")
    rows = "\n".join(f"{x * 40 + 0.5} {y * 60 + 0.5}" for x, y in average_landmarks())
    (tmp_path / "a.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    files = annotator(AnnotatorOptions("files", folder=str(tmp_path)))
    assert isinstance(files.finder, FaceFiles)
    assert not files.by_pixels
    np.testing.assert_allclose(files.annotate(IMAGE, Origin("a.jpg")).landmarks, average_landmarks(), atol=1e-5)


def test_names_are_those_of_the_command_line():
    from fer_core.cli_faces import FINDERS

    assert annotations.NAMES == FINDERS


def test_the_average_face_is_aligned_and_symmetric():
    points = np.array(average_landmarks())
    assert 0 <= points[17:].min() < points[17:].max() <= 1  # the jaw may reach out of the crop
    eyes = alignment.five_points(points)[:2]
    np.testing.assert_allclose(eyes, [[0.34, 0.46], [0.66, 0.46]], atol=0.03)
    np.testing.assert_allclose(points[27:31, 0], 0.5, atol=1e-3)


def test_frames_without_a_face_take_their_neighbours():
    found = [None, annotation(1), None, None, None, annotation(5)]
    filled = nearest_filled(found, 60, 40)
    assert [item.landmarks[0, 0] for item in filled] == [1, 1, 1, 1, 5, 5]


def test_clips_without_a_face_take_the_average():
    filled = nearest_filled([None, None], 60, 40)
    np.testing.assert_allclose(filled[1].landmarks, average_landmarks(), atol=1e-6)
    assert filled[0].parsing.shape == (60, 40)
