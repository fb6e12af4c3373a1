"""What a method sees: a batch of faces, and the features that a frozen image tower made of them."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Joiner = Callable[[list[Any]], Any]


@dataclass
class ImageFeatures:
    """Projected outputs of an image tower, not normalised.

    Args:
        class_token: ``(B, D)``, or ``(B, T, D)`` for clips.
        patch_tokens: ``(B, N, D)``, or ``(B, T, N, D)``; None where they were not asked for.
    """

    class_token: Tensor
    patch_tokens: Tensor | None = None


@dataclass
class Batch:
    """Typed samples that move to a device as one.

    A sample is a ``Batch`` without the leading axis, as :meth:`stack` takes them.

    Args:
        image: ``(B, 3, H, W)`` or ``(B, T, 3, H, W)``; float32, normalised for the Clip in use (a data set's
            raw samples are uint8).
        label: ``(B,)`` int64, index into the data set's class names.
        index: ``(B,)`` int64, position in the data set.
        votes: ``(B, C)`` float32, annotators' votes per class.
        action_units: ``(B, A)`` or ``(B, T, A)`` float32 in 0..1, columns as ``faces.ACTION_UNITS``.
        landmarks: ``(B, 68, 2)`` or ``(B, T, 68, 2)`` float32, x and y in 0..1 of the image.
        parsing: ``(B, H, W)`` or ``(B, T, H, W)`` uint8, classes as ``faces.PARSING``.
        caption: One string a sample.
        subject: ``(B,)`` int64.
        features: Frozen-tower features that stand in place of the pixels.
    """

    image: Tensor
    label: Tensor
    index: Tensor
    votes: Tensor | None = None
    action_units: Tensor | None = None
    landmarks: Tensor | None = None
    parsing: Tensor | None = None
    caption: list[str] | None = None
    subject: Tensor | None = None
    features: ImageFeatures | None = None

    def __len__(self) -> int:
        return len(self.label)

    def _map(self, change: Any) -> "Batch":
        """A copy with every tensor changed."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = change(value)
            elif isinstance(value, ImageFeatures):
                patches = value.patch_tokens
                value = ImageFeatures(change(value.class_token), None if patches is None else change(patches))
            values[field.name] = value
        return Batch(**values)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; DataLoader calls it."""
        return self._map(lambda tensor: tensor.pin_memory())

    def take(self, positions: Sequence[int] | Tensor) -> "Batch":
        """The samples at the given positions of the batch, in that order; or those that a mask ``(B,)`` marks."""
        chosen = torch.as_tensor(positions)
        chosen = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen.long()
        taken = self._map(lambda tensor: tensor[chosen.to(tensor.device)])
        if self.caption is not None:
            taken.caption = [self.caption[position] for position in chosen.tolist()]
        return taken

    @classmethod
    def stack(cls, samples: Sequence["Batch"]) -> "Batch":
        """One batch of samples that carry no leading axis.

        Raises:
            ValueError: If there are no samples, or a field is set in some samples and missing in others.
        """
        return cls._together(samples, "samples", torch.stack, list)

    @classmethod
    def concatenate(cls, batches: Sequence["Batch"]) -> "Batch":
        """One batch of several, one after another.

        Raises:
            ValueError: If there are no batches, or a field is set in some and missing in others.
        """
        return cls._together(batches, "batches", torch.cat, lambda columns: [each for part in columns for each in part])

    @classmethod
    def _together(cls, parts: Sequence["Batch"], what: str, join: Joiner, join_words: Joiner) -> "Batch":
        """One batch of parts, whose tensors and captions are joined field by field."""
        if not parts:
            raise ValueError(f"expected at least one of the {what} to join, got none")
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            column = [getattr(part, field.name) for part in parts]
            missing = sum(value is None for value in column)
            if 0 < missing < len(column):
                raise ValueError(f"{field.name} is missing in {missing} of {len(column)} {what}")
            if missing:
                values[field.name] = None
            elif field.name == "features":
                patches = [value.patch_tokens for value in column]
                tokens = join([value.class_token for value in column])
                values["features"] = ImageFeatures(tokens, None if patches[0] is None else join(patches))
            else:
                values[field.name] = (join if isinstance(column[0], Tensor) else join_words)(column)
        return cls(**values)
