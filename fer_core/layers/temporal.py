"""Light models of time on the features of frames."""

import torch.nn.functional as F
from torch import Tensor, nn


class TemporalConvolution(nn.Module):
    """One convolution over time, GELU, and the mean over time.

    The temporal module of CLIP-AU (Zeeshan et al. 2026, arXiv 2603.27999): its figure calls it a gated linear unit, but
    the released code and the published number of parameters fit GELU alone.

    Args:
        width: Width D of the features.
        kernel: Frames that the convolution sees; odd, padded with zeros.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2)

    def forward(self, frames: Tensor) -> Tensor:
        """One feature ``(B, D)`` of each run of frames ``(B, T, D)``."""
        return F.gelu(self.convolution(frames.transpose(1, 2))).mean(-1)
