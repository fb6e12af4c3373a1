"""ST-Adapter: a bottleneck with a convolution over time, before the attention of each block.

Pan et al. 2022, "ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning" (NeurIPS, arXiv 2206.13559), section
3.2::

    x = x + DWConv3D(x W_down) W_up        on the patch tokens; one kernel of 3 x 1 x 1 a channel

The convolution starts at zero, so that nothing is changed at first. With a middle of 384 in all blocks of ViT-B/16 it
has 7,110,144 numbers. Other than in the authors' code: there the model of so many numbers has it before the MLP, and
the first layer's bias starts at zero.
"""

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from fer_core.clip import BlockAdapter


class StAdapter(BlockAdapter):
    """The adapter of one block.

    Args:
        width: Width W of the tower.
        inner: Width of the middle.
        kernel: Frames that the convolution sees; odd, padded with zeros.

    Attributes:
        frames: Frames of a clip; set it before the tower runs, whose sequences are frames one after another.
    """

    by_token = True

    def __init__(self, width: int, inner: int, kernel: int = 3) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        # Places of a frame never mix (1 x 1 in space), so a convolution over time alone is the same and faster.
        self.over_time = nn.Conv1d(inner, inner, kernel, padding=kernel // 2, groups=inner)
        for layer in (self.over_time.weight, self.over_time.bias, self.up.bias):
            nn.init.zeros_(layer)  # pyright: ignore[reportArgumentType]
        self.frames = 1

    def before(self, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """See :meth:`BlockAdapter.before`."""
        inner = self.down(x[:, 1:])
        clips, (length, width) = x.shape[0] // self.frames, inner.shape[1:]
        over_time = inner.view(clips, self.frames, length, width).permute(0, 2, 3, 1)  # (B, L, W, T)
        mixed = self.over_time(over_time.reshape(-1, width, self.frames))
        mixed = mixed.view(clips, length, width, self.frames).permute(0, 3, 1, 2).reshape(inner.shape)
        return torch.cat([x[:, :1], x[:, 1:] + self.up(mixed)], 1)


class StAdapters(nn.Module):
    """The adapters of a whole tower.

    Args:
        width: Width W of the tower.
        blocks: Number of its blocks.
        inner: Width of the adapters' middles.
    """

    def __init__(self, width: int, blocks: int, inner: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(StAdapter(width, inner) for _ in range(blocks))

    def of(self, frames: int) -> list[BlockAdapter]:
        """The adapters for clips of so many frames, in the order of the blocks."""
        for block in self.blocks:
            block.frames = frames  # pyright: ignore[reportArgumentType]
        return list(self.blocks)  # pyright: ignore[reportReturnType]
