"""Transforms: CLIP's own resizing, annotations that follow the pixels, randomness of the sample alone."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core.batch import Batch
from fer_core.data import Augmentation, Transform
from fer_core.data.dataset import unstack
from fer_core.errors import UserError
from fer_core.faces.action_units import CODES

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
STRONG = Augmentation(
    crop_scale=(0.3, 0.9), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, erasing=0.5
)


def raw(size: int = 4, height: int = 48, width: int = 48, frames: int | None = None, grey: bool = False) -> Batch:
    random = torch.Generator().manual_seed(0)
    lead = (size,) if frames is None else (size, frames)
    image = torch.randint(0, 256, (*lead, 1 if grey else 3, height, width), generator=random, dtype=torch.uint8)
    return Batch(
        image=image.expand(*lead, 3, height, width),
        label=torch.arange(size),
        index=torch.arange(size) + 7,
        landmarks=torch.rand(*lead, 68, 2, generator=random),
        parsing=torch.randint(0, 16, (*lead, height, width), generator=random, dtype=torch.uint8),
        action_units=torch.rand(*lead, len(CODES), generator=random),
        caption=[f"{place}: lit from the left" for place in range(size)],
    )


def denormalised(image: torch.Tensor) -> torch.Tensor:
    return image * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def assert_equal(one: Batch, two: Batch) -> None:
    for field in fields(Batch):
        first, second = getattr(one, field.name), getattr(two, field.name)
        same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
        assert same, field.name


@pytest.mark.parametrize("size", [32, 64])
def test_resizes_as_pillow_does(size: int) -> None:
    batch = raw()
    image = denormalised(Transform(size, MEAN, STD)(batch).image) * 255
    for place in range(4):
        face = Image.fromarray(batch.image[place].permute(1, 2, 0).numpy())
        expected = torch.from_numpy(np.array(face.resize((size, size), Image.Resampling.BICUBIC))).permute(2, 0, 1)
        assert (image[place] - expected).abs().max() < 1.01  # a rounding apart


def test_normalises_exactly() -> None:
    batch = raw()
    image = Transform(48, MEAN, STD)(batch).image
    assert image.dtype == torch.float32
    expected = (batch.image / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(image, expected, rtol=0, atol=2e-6)


def test_of_a_tower_it_is_the_towers() -> None:
    tower = SimpleNamespace(image_size=32, mean=MEAN, std=STD)
    assert_equal(Transform.of(tower)(raw()), Transform(32, MEAN, STD)(raw()))
    train = Transform.of(tower, train=True, augmentation=STRONG)
    assert_equal(train(raw()), Transform(32, MEAN, STD, True, STRONG)(raw()))


def test_keeps_the_centre_of_a_wide_image() -> None:
    batch = raw(height=24, width=40)
    square = replace(batch, image=batch.image[..., 8:32], parsing=batch.parsing[..., 8:32], landmarks=None)
    transform = Transform(24, MEAN, STD)
    wide, narrow = transform(batch), transform(square)
    assert torch.equal(wide.image, narrow.image)
    assert torch.equal(wide.parsing, narrow.parsing)
    expected = (batch.landmarks[..., 0] * 40 - 8) / 24
    torch.testing.assert_close(wide.landmarks[..., 0], expected)
    torch.testing.assert_close(wide.landmarks[..., 1], batch.landmarks[..., 1])


@pytest.mark.parametrize("augmentation", [Augmentation(), STRONG])
def test_grey_is_three_equal_channels(augmentation: Augmentation) -> None:
    batch = raw(grey=True)
    transform = Transform(64, (0.5,) * 3, (0.2,) * 3, train=True, augmentation=augmentation)
    fast = transform(batch).image
    slow = transform(replace(batch, image=batch.image.contiguous())).image
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)
    assert fast.shape == (4, 3, 64, 64)


@pytest.mark.parametrize("augmentation", [Augmentation(), STRONG])
@pytest.mark.parametrize("frames", [None, 3])
def test_a_sample_is_the_same_in_any_batch(augmentation: Augmentation, frames: int | None) -> None:
    batch = raw(frames=frames)
    transform = Transform(32, MEAN, STD, train=True, augmentation=augmentation)
    together = transform(batch, seed=3, epoch=2)
    for place in (2, 0):
        alone = transform(unstack(batch.take([place])), seed=3, epoch=2)
        assert_equal(alone, unstack(together.take([place])))
    assert_equal(transform(batch.take([3, 1]), seed=3, epoch=2), together.take([3, 1]))


def test_randomness_follows_seed_epoch_and_index() -> None:
    batch = raw(1)
    transform = Transform(32, MEAN, STD, train=True, augmentation=STRONG)
    first = transform(batch, 0, 0).image
    assert torch.equal(transform(batch, 0, 0).image, first)
    others = [transform(batch, 1, 0), transform(batch, 0, 1), transform(replace(batch, index=batch.index + 1), 0, 0)]
    assert not any(torch.equal(other.image, first) for other in others)


def test_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Transform(32, MEAN, STD, train=True, augmentation=STRONG)(raw())
    assert torch.equal(torch.rand(3), expected)


def test_only_training_augments() -> None:
    batch = raw()
    assert_equal(Transform(32, MEAN, STD, train=False, augmentation=STRONG)(batch), Transform(32, MEAN, STD)(batch))
    assert_equal(Transform(32, MEAN, STD, train=True)(batch), Transform(32, MEAN, STD)(batch))


def test_a_sure_flip_mirrors_everything() -> None:
    batch = raw()
    plain = Transform(48, MEAN, STD)(batch)
    flipped = Transform(48, MEAN, STD, train=True, augmentation=Augmentation(flip=1))(batch)
    torch.testing.assert_close(flipped.image, plain.image.flip(-1))
    torch.testing.assert_close(flipped.landmarks[:, 8, 0], 1 - plain.landmarks[:, 8, 0])
    torch.testing.assert_close(flipped.landmarks[:, 36, 0], 1 - plain.landmarks[:, 45, 0])
    left, right = CODES.index("AU12L"), CODES.index("AU12R")
    assert torch.equal(flipped.action_units[:, left], plain.action_units[:, right])
    assert flipped.caption[1] == "1: lit from the right"
    assert not torch.equal(flipped.parsing, plain.parsing.flip(-1))  # classes of one side changed, too
    twice = Transform(48, MEAN, STD, train=True, augmentation=Augmentation(flip=1))(replace(
        batch, image=batch.image.flip(-1)))  # fmt: skip
    torch.testing.assert_close(twice.image, plain.image)


def test_flips_and_erases_about_as_often_as_asked() -> None:
    batch = raw(400, 4, 4)
    plain = Transform(4, MEAN, STD)(batch).image
    flipped = Transform(4, MEAN, STD, train=True, augmentation=Augmentation(flip=0.3))(batch).image
    share = (flipped != plain).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.07)
    erased = Transform(4, MEAN, STD, train=True, augmentation=Augmentation(erasing=0.3, erasing_scale=(0.2, 0.4)))(
        batch
    )
    changed = erased.image != plain
    assert changed.flatten(1).any(1).float().mean().item() == pytest.approx(0.3, abs=0.07)
    assert (erased.image[changed] == 0).all()


def test_a_rectangle_that_does_not_fit_erases_nothing() -> None:
    batch = raw(60, 6, 6)
    chosen = Augmentation(erasing=1.0, erasing_scale=(0.5, 1.0))
    image = Transform(6, MEAN, STD, train=True, augmentation=chosen)(batch).image
    gone = (image == 0).flatten(1).float().mean(1)
    assert gone.max() < 1
    assert 0 < (gone == 0).float().mean() < 1


def test_landmarks_and_parsing_follow_the_crop() -> None:
    # One bright square on black, marked by a parsing class and by a landmark in its centre.
    image = torch.zeros(60, 3, 48, 48, dtype=torch.uint8)
    image[..., 20:28, 24:32] = 255
    parsing = torch.zeros(60, 48, 48, dtype=torch.uint8)
    parsing[:, 20:28, 24:32] = 6
    points = torch.zeros(60, 68, 2)
    points[:, 30] = torch.tensor([28 / 48, 24 / 48])
    batch = Batch(image, torch.zeros(60, dtype=torch.long), torch.arange(60), landmarks=points, parsing=parsing)
    chosen = Augmentation(crop_scale=(0.3, 1.0), flip=0.5)
    made = Transform(48, (0.0,) * 3, (1.0,) * 3, train=True, augmentation=chosen)(batch)
    grid = (torch.arange(48) + 0.5) / 48
    seen = 0
    for place in range(60):
        bright = made.image[place, 0].clamp(0, 1)
        if bright[[0, -1]].sum() + bright[:, [0, -1]].sum() > 0:
            continue  # cut by the border
        seen += 1
        centre = torch.stack([(bright.sum(0) * grid).sum(), (bright.sum(1) * grid).sum()]) / bright.sum()
        torch.testing.assert_close(made.landmarks[place, 30], centre, rtol=0, atol=0.01)
        assert ((bright > 0.5) == (made.parsing[place] == 6)).float().mean() > 0.98
    assert seen > 30


def test_all_frames_of_a_clip_change_alike() -> None:
    batch = raw(frames=3)
    still = replace(
        batch, image=batch.image[:, :1].expand_as(batch.image), parsing=batch.parsing[:, :1].expand_as(batch.parsing),
        landmarks=batch.landmarks[:, :1].expand_as(batch.landmarks),
    )  # fmt: skip
    made = Transform(32, MEAN, STD, train=True, augmentation=STRONG)(still)
    for frame in (1, 2):
        assert torch.equal(made.image[:, frame], made.image[:, 0])
        assert torch.equal(made.parsing[:, frame], made.parsing[:, 0])
        assert torch.equal(made.landmarks[:, frame], made.landmarks[:, 0])


def test_jitter_stays_within_its_range() -> None:
    batch = replace(raw(50), image=torch.full((50, 3, 48, 48), 100, dtype=torch.uint8))
    chosen = Augmentation(brightness=0.2)
    made = denormalised(Transform(48, MEAN, STD, train=True, augmentation=chosen)(batch).image) * 255
    assert made.min() == pytest.approx(80, abs=3)
    assert made.max() == pytest.approx(120, abs=3)
    assert len(made[:, 0, 0, 0].unique()) > 20


def test_refuses_other_images() -> None:
    with pytest.raises(ValueError, match=r"raw uint8 images, got torch\.float32"):
        Transform(32, MEAN, STD)(replace(raw(), image=torch.rand(4, 3, 48, 48)))
    with pytest.raises(ValueError, match="parsing maps of size"):
        Transform(32, MEAN, STD)(replace(raw(), parsing=torch.zeros(4, 24, 24, dtype=torch.uint8)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_scale": (0.9, 0.5)}, r"crop_scale: expected 0 < smallest <= largest <= 1, got \(0\.9, 0\.5\)"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
        ({"crop_ratio": (-1.0, 1.0)}, "crop_ratio"),
        ({"erasing_scale": (0.1, 1.1)}, "erasing_scale"),
        ({"flip": 1.5}, "flip: expected 0 to 1, got 1.5"),
        ({"hue": 0.6}, "hue: expected 0 to 0.5, got 0.6"),
        ({"contrast": float("nan")}, "contrast: expected 0 to 1, got nan"),
    ],
)
def test_refuses_impossible_settings(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Augmentation(**values)


def test_is_off_by_default_only() -> None:
    assert Augmentation().off
    for name, value in {"flip": 0.1, "erasing": 0.1, "hue": 0.1, "crop_scale": (0.9, 1.0)}.items():
        assert not Augmentation(**{name: value}).off
