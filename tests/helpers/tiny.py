"""A CLIP small enough to train in a test."""

from typing import Any

import open_clip
import torch
from torch import nn

from fer_core.clip import Clip

#: Of methods that a tiny CLIP leaves too little room at their defaults.
SETTINGS = {"cocoop": {"reduction": 2}, "clip-adapter": {"ratio": 0.8}}


def tiny_clip(layers: int = 3) -> Clip:
    """A fresh CLIP of a few blocks a tower, with random weights that are the same in every test."""
    vision = {"image_size": 32, "patch_size": 8, "width": 32, "layers": layers, "head_width": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": layers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text)
        # open_clip leaves biases at zero and norms at one: draw them, so that a test sees a part left out.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data.add_(0.1 * torch.randn_like(parameter))
    return Clip(model, "tiny:random", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def stirred(module: nn.Module, by: float = 0.2) -> Any:
    """Moves every trained parameter off its start, always in the same way; in evaluation mode then."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return module.eval()
