"""Figures of faces show pictures as they are and put the truth where it belongs."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from fer_core import plots_faces
from fer_core.errors import UserError
from fer_core.faces import PARSING

CLASSES = ("neutral", "fear", "surprise")


@pytest.fixture
def images():
    """Three pictures of 8 by 8 pixels."""
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_pictures_are_shown_as_they_are(images):
    drawn = plots_faces.sheet(images, 2, titles=["a", "b", "c"], above=["left", "right"], left=["first", "second"])
    shown = [axis for axis in drawn.axes if axis.get_visible()]
    assert len(shown) == 3
    for axis, image, title in zip(shown, images, "abc", strict=True):
        assert np.asarray(axis.images[0].get_array()) == pytest.approx(image.permute(1, 2, 0).numpy())
        assert axis.get_xlabel() == title
    assert [axis.get_title(loc="center") for axis in shown] == ["left", "right", ""]
    assert [axis.get_ylabel() for axis in shown] == ["first", "", "second"]
    bytes_ = (images * 255).round().to(torch.uint8)
    assert plots_faces.pixels(bytes_) == pytest.approx(plots_faces.pixels(images), abs=0.003)


def test_titles_must_be_as_many_as_faces(images):
    with pytest.raises(UserError, match="titles: expected 3, one a face, got 1"):
        plots_faces.sheet(images, 2, titles=["a"])


def test_overlays_put_landmarks_on_their_pixels(images):
    landmarks = torch.full((3, 68, 2), 0.5)
    parsing = torch.zeros(3, 8, 8, dtype=torch.uint8)
    parsing[0, 0, 0] = PARSING.index("nose")
    drawn = plots_faces.overlays(images, landmarks, parsing, PARSING)
    points = drawn.axes[3].collections[0].get_offsets()
    assert np.asarray(points[0]).tolist() == [3.5, 3.5]  # the middle lies between the fourth and the fifth pixel
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["background", "nose"]


def test_course_leaves_silent_units_out(images):
    units = torch.tensor([[0.0, 0.1], [0.9, 0.1], [0.2, 0.1]])
    drawn = plots_faces.course(images, units, ("AU1", "AU2"), torch.tensor([0.25, 0.75]))
    axis = drawn.axes[-1]
    assert [line.get_label() for line in axis.lines] == ["AU1"]
    assert axis.patches[0].get_x() == pytest.approx(0.25 * 3 + 0.5)
    assert len(drawn.axes) == 4


def test_votes_are_bars_and_the_intended_class_is_framed(images):
    drawn = plots_faces.votes(images, torch.tensor([[7.0, 2, 1]] * 3), torch.tensor([0, 1, 2]), CLASSES)
    for column in range(3):
        bars = drawn.axes[3 + column].patches
        assert [bar.get_width() for bar in bars] == [7, 2, 1]
        assert [bar.get_linewidth() > 1.5 for bar in bars] == [place == column for place in range(3)]


def test_every_parsing_class_has_a_colour_of_its_own():
    colors = plots_faces._PARSING
    assert len(colors) == len(PARSING)
    apart = np.linalg.norm(colors[:, None] - colors, axis=-1) + 9 * np.eye(len(colors))
    assert apart.min() > 0.1


def test_what_a_method_says_stands_under_its_face(images):
    probabilities = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    titles = ["a.png", "b.png", "a/very/long/path/to/somewhere/that/goes/on/c.png"]
    drawn = plots_faces.said(images, probabilities, CLASSES, titles)
    above, below = drawn.axes[:3], drawn.axes[3:]
    assert [axis.get_title(loc="center") for axis in above][:2] == titles[:2]
    cut = above[2].get_title(loc="center")
    assert cut.startswith("…")
    assert titles[2].endswith(cut[1:])
    for axis, row in zip(below, probabilities, strict=True):
        assert [bar.get_width() for bar in axis.patches] == pytest.approx(row)
        framed = [bar.get_linewidth() > 1.5 for bar in axis.patches]
        assert framed == [at == row.argmax() for at in range(3)]
    assert [label.get_text() for label in below[0].get_yticklabels()] == list(CLASSES)
    with pytest.raises(UserError, match="expected pictures with a title and probabilities each, got 3, 2 and 3"):
        plots_faces.said(images, probabilities, CLASSES, titles[:2])


def test_answers_mark_what_is_wrong(images):
    drawn = plots_faces.answers(images, CLASSES, {"one": ("neutral", "surprise", "surprise")})
    words = {text.get_text(): text for text in drawn.axes[0].texts}
    assert list(words) == ["shows", *CLASSES, "one", "neutral ✓", "surprise ✗", "surprise ✓"]
    assert words["surprise ✗"].get_weight() == "bold"
    red, green, blue = (np.array(to_rgb(words["surprise ✗"].get_color())) / 1.055 + 0.055 / 1.055) ** 2.4
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) > 4.5  # WCAG 2.2, contrast to white
    assert words["surprise ✗"].get_position()[0] == pytest.approx(1.5)  # below the second face
    shown = drawn.axes[0].images
    assert np.asarray(shown[1].get_array()) == pytest.approx(images[1].permute(1, 2, 0).numpy())
    with pytest.raises(UserError, match="one: expected 3 names, one a face, got 2"):
        plots_faces.answers(images, CLASSES, {"one": CLASSES[:2]})
