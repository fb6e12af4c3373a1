"""Adapters that teach a frozen image tower to look at clips.

Yang et al. 2023, "AIM: Adapting Image Models for Efficient Video Action Recognition" (ICLR, arXiv 2302.03024), section
3, in every block, with frozen LN, MSA and MLP::

    x = x + D(A_t(MSA(LN1(x over time))))          attention between the same place of all frames
    y = MSA(LN1(x)); x = x + y + A_s(y)            attention within a frame
    x = x + MLP(LN2(x)) + D(s A_j(LN2(x)))         s = 0.5

A is Linear(W, W / 4), GELU, Linear(W / 4, W) with its last layer at zero; D drops the whole path of a sample in
training. At the start nothing is changed. Other than in the authors' code as others carry it on: there the chance of D
grows from block to block, places in time are added before the norm that opens the tower, and its last norm is trained.
"""

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from fer_core.clip import BlockAdapter, attend
from fer_core.errors import UserError
from fer_core.layers.temporal import too_long


def check_settings(reduction: int, max_frames: int, drop_path: float) -> None:
    """Refuses settings that no adapters could have, for the configs of methods that have some.

    Args:
        reduction: The tower's width over that of the adapters' middles.
        max_frames: Most frames of a clip.
        drop_path: Probability that a clip goes without an adapter in training.

    Raises:
        UserError: If one is out of its range.
    """
    if reduction < 1 or max_frames < 1 or not 0 <= drop_path < 1:
        raise UserError(
            "expected reduction and max_frames of at least 1 and drop_path in [0, 1), got "
            f"{reduction}, {max_frames} and {drop_path:g}; mend the wrong one"
        )


class Bottleneck(nn.Module):
    """Two layers with a narrow middle, zero at the start.

    Args:
        width: Of its input and output.
        inner: Of its middle.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """What is to be added to ``x``."""
        return self.up(nn.functional.gelu(self.down(x)))


class VideoAdapter(BlockAdapter):
    """AIM's three adapters of one block.

    Args:
        width: Width W of the tower.
        inner: Width of the adapters' middles.
        temporal: Whether frames look at each other.
        spatial: Whether the attention within a frame is adapted.
        joint: Whether there is a path beside the MLP.
        scale: s.
        drop_path: Probability that a sample goes without a path in training.

    Attributes:
        frames: Frames of a clip; set it before the tower runs, whose sequences are frames one after another.
        watched: Whether the attention over time is kept.
        attended: ``(B, T, T)`` that attention in the last forward pass, of the class tokens, mean over the heads.
    """

    by_token = True
    attended: Tensor

    def __init__(
        self, width: int, inner: int, temporal: bool = True, spatial: bool = True, joint: bool = True,
        scale: float = 0.5, drop_path: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.temporal = Bottleneck(width, inner) if temporal else None
        self.spatial = Bottleneck(width, inner) if spatial else None
        self.joint = Bottleneck(width, inner) if joint else None
        self.scale, self.drop, self.frames = scale, StochasticDepth(drop_path, "row"), 1
        self.watched = False

    def before(self, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """See :meth:`BlockAdapter.before`: the attention over time."""
        if self.temporal is None:
            return x
        clips, (length, width) = x.shape[0] // self.frames, x.shape[1:]
        # (B T, L, W) -> (B L, T, W): for each place of a frame, the same place of all frames.
        over_time = x.view(clips, self.frames, length, width).transpose(1, 2).reshape(-1, self.frames, width)
        normed = block.ln_1(over_time)
        if self.watched:
            tokens = normed.view(clips, length, self.frames, width)[:, 0]
            self.attended = block.attn(tokens, tokens, tokens, need_weights=True)[1].detach()
        mixed = self.temporal(attend(block, normed))
        mixed = mixed.view(clips, length, self.frames, width).transpose(1, 2)
        return x + self.drop(mixed).reshape(x.shape)

    def attention(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """See :meth:`BlockAdapter.attention`."""
        return delta if self.spatial is None else delta + self.spatial(delta)

    def mlp(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """See :meth:`BlockAdapter.mlp`."""
        if self.joint is None:
            return delta
        added = self.scale * self.joint(normed)
        by_clip = added.view(added.shape[0] // self.frames, -1, added.shape[-1])  # a clip goes without it as a whole
        return delta + self.drop(by_clip).view(added.shape)


class VideoAdapters(nn.Module):
    """The adapters of a whole tower, and a learned place in time, zero at the start.

    Args:
        width: Width W of the tower.
        blocks: Number of its blocks.
        frames: Most frames of a clip.
        reduction: W over the width of the adapters' middles.
        **parts: As of :class:`VideoAdapter`.
    """

    def __init__(self, width: int, blocks: int, frames: int = 16, reduction: int = 4, **parts: bool | float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(frames, width))
        inner = width // reduction
        self.blocks = nn.ModuleList(VideoAdapter(width, inner, **parts) for _ in range(blocks))  # pyright: ignore

    def of(self, frames: int) -> list[BlockAdapter]:
        """The adapters for clips of so many frames, in the order of the blocks.

        Raises:
            UserError: If clips are longer than the learned places in time.
        """
        if frames > len(self.place):
            raise too_long(len(self.place), frames)
        for block in self.blocks:
            block.frames = frames  # pyright: ignore[reportArgumentType]
        first, *rest = self.blocks
        return [_Placed(first, self.place[:frames]), *rest]  # pyright: ignore[reportReturnType, reportArgumentType]


class _Placed(BlockAdapter):
    """The first block's adapter, behind the places in time; not registered, so that no weight stands twice."""

    by_token = True

    def __init__(self, inner: VideoAdapter, place: Tensor) -> None:
        super().__init__()
        self._parts = (inner, place)

    def before(self, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        inner, place = self._parts
        return inner.before(x + place.repeat(x.shape[0] // place.shape[0], 1)[:, None], block)

    def attention(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        return self._parts[0].attention(delta, normed, x, block)

    def mlp(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        return self._parts[0].mlp(delta, normed, x, block)
