"""Light models of time on the features of frames."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.errors import UserError

_INIT = 0.02


def too_long(most: int, frames: int) -> UserError:
    """The error for clips longer than the places in time that a layer has learned, to be raised.

    Args:
        most: Learned places.
        frames: Of the clips.
    """
    return UserError(
        f"clips: expected at most {most} frames, got {frames}; lower data.frames or raise model.max_frames"
    )


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


class TemporalTransformer(nn.Module):
    """A class token among the frames, a transformer over time, and what the class token has gathered.

    The temporal model of DFER-CLIP (Zhao and Patras 2023, arXiv 2308.13382) and EmoCLIP (Foteinopoulou and Patras 2024,
    arXiv 2310.16640), normalised before each layer as in both codes. Our reading: what is gathered goes through a
    matrix that starts at zero and is added to the mean of the frames, so that training starts at frame-averaged CLIP.
    Other than in those codes, layers are as wide inside as CLIP's, 4 D (there 1024 and 512, of 512; EmoCLIP's heads are
    wider, too), and token and places start small (deviation 0.02, there 1).

    Args:
        width: Width D of the features.
        layers: Number of encoder layers.
        heads: Attention heads; D is a multiple of them.
        frames: Most frames of a clip.

    Raises:
        UserError: If the width is no multiple of the heads.
    """

    def __init__(self, width: int, layers: int = 1, heads: int = 8, frames: int = 16) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or width % heads:
            raise UserError(
                f"expected at least one layer and heads that divide a width of {width}, got {layers} and {heads}; "
                "choose others"
            )
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.token = nn.Parameter(torch.randn(1, 1, width) * _INIT)
        self.place = nn.Parameter(torch.randn(1, frames + 1, width) * _INIT)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """One feature ``(B, D)`` of each run of frames ``(B, T, D)``.

        Raises:
            UserError: If clips are longer than the learned places in time.
        """
        count = frames.shape[1]
        if count >= self.place.shape[1]:
            raise too_long(self.place.shape[1] - 1, count)
        tokens = torch.cat([self.token.expand(frames.shape[0], -1, -1), frames], 1) + self.place[:, : count + 1]
        return frames.mean(1) + self.out(self.encoder(tokens)[:, 0])
