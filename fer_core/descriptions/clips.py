"""Questions about the clips of a data set, and the keys under which their descriptions are found again."""

from collections.abc import Sequence

import numpy as np

from fer_core import prompts
from fer_core.data import FaceDataset
from fer_core.data.files import ClipFiles, ImageFiles
from fer_core.data.sampling import Sampling, positions
from fer_core.data.selections import Subset, Wrapped
from fer_core.descriptions.jobs import Question
from fer_core.descriptions.rows import key
from fer_core.errors import UserError


def clip_keys(dataset: FaceDataset) -> list[str]:
    """The key of each sample: its path in the official layout, or its place in a rendered set."""
    if isinstance(dataset, Subset):
        whole = clip_keys(dataset.dataset)
        return [whole[place] for place in dataset.positions.tolist()]
    if isinstance(dataset, Wrapped):
        return clip_keys(dataset.dataset)
    if isinstance(dataset, ClipFiles | ImageFiles):
        return [key(entry.path, entry.first) for entry in dataset.listing.entries]
    return [f"{dataset.name}/{dataset.split}/{place}" for place in range(len(dataset))]


def clip_questions(dataset: FaceDataset, frames: int) -> list[Question]:
    """One question a clip, on some of the frames that the data set gives of it.

    Args:
        dataset: A data set of clips.
        frames: How many frames go with each question: the middle ones of as many equal parts of the clip.

    Raises:
        UserError: If the number of frames is not positive, or the data set has single images.
    """
    if frames < 1:
        raise UserError(f"frames: expected a number of at least 1, got {frames}; 4 is usual")
    if dataset[0].image.ndim != 4:
        raise UserError(f"{dataset.name}: expected a data set of clips, got single images; choose another")
    text = prompts.request("clips").format(frames=frames)

    def images(place: int) -> Sequence[np.ndarray]:
        clip = dataset[place].image
        chosen = positions(Sampling("segments", frames), len(clip), None)
        return [frame.permute(1, 2, 0).numpy() for frame in clip[chosen]]

    return [Question(name, text, lambda place=place: images(place)) for place, name in enumerate(clip_keys(dataset))]
