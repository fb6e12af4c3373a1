"""How fast images and clips come, beside what one would write without this library.

The plain way is ``torchvision.datasets.ImageFolder`` for stills and a loop over a clip's frames with Pillow, both with
torchvision's transforms and a ``DataLoader`` of as many processes. Faces are rendered into JPEGs of the size that
models take, so both sides decode, crop, flip and normalise the very same pixels.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from fer_core import bench, data
from fer_core.data.demo import DemoFaces
from fer_core.data.files import ClipFiles, Entry, ImageFiles, Listing
from fer_core.data.sampling import Sampling
from fer_core.errors import UserError

TITLE = "Loading images and clips, beside ImageFolder and a loop over frames"

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SCALE, _RATIO, _FLIP = (0.5, 1.0), (3 / 4, 4 / 3), 0.5
_BICUBIC = v2.InterpolationMode.BICUBIC
_CLASSES = data.CLASSES[:7]
_QUALITY = 92  # of the JPEGs


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        repeats: Pairs of passes, each of one pass over all images or clips.
        workers: Processes of each loader; 0 loads in this process.
        batch_size: Images in a batch; a batch of clips has an eighth as many.
        size: Side of images in pixels.
        per_class: Images of each of seven classes; there are a quarter as many clips.
        length: Frames of each clip.
        frames: Frames that are read of it.
    """

    repeats: int = 7
    workers: int = 0
    batch_size: int = 32
    size: int = 224
    per_class: int = 16
    length: int = 32
    frames: int = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = {"workers": 0, "size": 32, "per_class": 4, "batch_size": 8}.get(name, 1)
            if value < least:
                raise UserError(f"{name}: expected at least {least}, got {value}; choose a larger number")


def measure(options: Options) -> list[bench.Row]:
    """Compares the loaders over files and over the store, for evaluation and for training."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="fer-core-bench-") as folder, _cache_in(Path(folder) / "cache"):
        stills, clips = write_stills(Path(folder) / "stills", options), write_clips(Path(folder) / "clips", options)
        for train in (False, True):
            kind = "training" if train else "evaluation"
            for store in (False, True):
                how = f"{kind}, from the store" if store else kind
                images = ImageFiles("bench", "train", stills, "rendered", options.size, store)
                plain_images = plain_stills(stills.folder, train, options)
                rows.append(_compared(f"stills, {how}", "images", images, plain_images, train, options))
                sampling = Sampling(frames=options.frames)
                films = ClipFiles("bench", "train", clips, "rendered", sampling, options.size, store)
                plain_films = plain_clips(clips, train, options)
                rows.append(_compared(f"clips, {how}", "clips", films, plain_films, train, options))
    return rows


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Lets stores be built in a folder that goes, in place of the user's cache."""
    before = os.environ.get("FER_CACHE")
    os.environ["FER_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FER_CACHE"]
        else:
            os.environ["FER_CACHE"] = before


def _compared(
    what: str, unit: str, dataset: data.FaceDataset, plain: DataLoader[Any], train: bool, options: Options
) -> bench.Row:
    batch_size = plain.batch_size
    assert batch_size is not None
    loader = ours(dataset, train, batch_size, options)
    return bench.compare(what, unit, len(dataset), _pass(loader), _pass(plain), options.repeats)


def _pass(loader: DataLoader[Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in loader:
            pass

    return run


def ours(dataset: data.FaceDataset, train: bool, batch_size: int, options: Options) -> DataLoader[Any]:
    """This library's loader."""
    augmentation = data.Augmentation(crop_scale=_SCALE, crop_ratio=_RATIO, flip=_FLIP)
    transform = data.Transform(options.size, _MEAN, _STD, train, augmentation)
    return data.loader(dataset, transform, batch_size, seed=0, shuffle=train, workers=options.workers)


def write_stills(folder: Path, options: Options) -> Listing:
    """Writes images in class folders, as ``ImageFolder`` reads them."""
    entries = []
    for number, still in enumerate(DemoFaces().stills(_CLASSES, options.per_class, options.size)):
        path = folder / still.class_name / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(still.image).save(path, quality=_QUALITY)
        entries.append(Entry(f"{still.class_name}/{path.name}", still.class_name))
    # ImageFolder's order, so that equal positions are equal images.
    entries.sort(key=lambda entry: entry.path)
    return Listing(folder, tuple(sorted(_CLASSES)), tuple(entries))


def write_clips(folder: Path, options: Options) -> Listing:
    """Writes clips as folders of frames; each rendered frame stands for the neighbours that a longer clip has."""
    entries = []
    drawn = min(options.length, 4)
    for number, clip in enumerate(DemoFaces(1).clips(_CLASSES, options.per_class // 4, drawn, options.size)):
        path = folder / f"{number:05d}"
        path.mkdir(parents=True)
        for place in range(options.length):
            Image.fromarray(clip.frames[place * drawn // options.length]).save(
                path / f"{place:05d}.jpg", quality=_QUALITY
            )
        entries.append(Entry(path.name, clip.class_name, frames=options.length))
    return Listing(folder, _CLASSES, tuple(entries))


def _to_tensor() -> list[v2.Transform]:
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(_MEAN, _STD)]


def plain_stills(folder: Path, train: bool, options: Options) -> DataLoader[Any]:
    """``ImageFolder`` with torchvision's transforms."""
    size = options.size
    if train:
        crop = v2.RandomResizedCrop(size, _SCALE, _RATIO, interpolation=_BICUBIC, antialias=True)
        transform = v2.Compose([crop, v2.RandomHorizontalFlip(_FLIP), *_to_tensor()])
    else:
        resize = v2.Resize(size, interpolation=_BICUBIC, antialias=True)
        transform = v2.Compose([resize, v2.CenterCrop(size), *_to_tensor()])
    return DataLoader(
        ImageFolder(folder, transform), batch_size=options.batch_size, shuffle=train, num_workers=options.workers
    )


def plain_clips(listing: Listing, train: bool, options: Options) -> DataLoader[Any]:
    """A loop over the frames of a clip."""
    return DataLoader(
        _PlainClips(listing, train, options), batch_size=options.batch_size // 8, shuffle=train,
        num_workers=options.workers,
    )  # fmt: skip


class _PlainClips(Dataset[tuple[Tensor, int]]):
    """Segments of a clip, a frame of each, opened and transformed one after the other; crop and flip are the clip's."""

    def __init__(self, listing: Listing, train: bool, options: Options) -> None:
        self.listing, self.train, self.options = listing, train, options
        size = options.size
        resize = v2.Resize(size, interpolation=_BICUBIC, antialias=True)
        self.resize, self.to_tensor = v2.Compose([resize, v2.CenterCrop(size)]), v2.Compose(_to_tensor())

    def __len__(self) -> int:
        return len(self.listing.entries)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        entry, count = self.listing.entries[place], self.options.frames
        folder = self.listing.folder / entry.path
        names = sorted(os.listdir(folder))
        shift = torch.rand(count).numpy() if self.train else np.full(count, 0.5)
        chosen = ((np.arange(count) + shift) * len(names) / count).astype(int)
        images = [Image.open(folder / names[number]).convert("RGB") for number in chosen]
        if self.train:
            top, left, high, wide = v2.RandomResizedCrop.get_params(F.to_image(images[0]), list(_SCALE), list(_RATIO))
            flip = bool(torch.rand(()) < _FLIP)
            size = [self.options.size, self.options.size]
            images = [F.resized_crop(image, top, left, high, wide, size, _BICUBIC, antialias=True) for image in images]  # pyright: ignore[reportArgumentType]
            images = [F.horizontal_flip(image) for image in images] if flip else images
        else:
            images = [self.resize(image) for image in images]
        frames = torch.stack([self.to_tensor(image) for image in images])
        return frames, self.listing.classes.index(entry.label)
