"""LoRA: low-rank changes of the image tower's weights, by the library peft.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR, arXiv 2106.09685), section 4.1. The weights
themselves stay frozen::

    W_0 x + (a / r) B A x      A: (r, d_in) random, B: (d_out, r) zero, in each chosen layer of the image tower
    f            features      class token of the changed tower, normalised, (B, D)
    logits     = exp(t) (W f)  W: the prompts' text features; head ``text``: fixed, ``linear``: trained

Our reading for CLIP and faces: the image tower alone, its attention (queries, keys, values, output), its MLPs, or both;
head and start as in full fine-tuning. Clips: the mean of their frames' features.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from fer_core.errors import UserError
from fer_core.layers.split_attention import SplitAttention
from fer_core.models.base import register
from fer_core.models.tuned_towers import TunedTower, TunedTowerConfig

_ATTENTION, _MLP = ["query", "key", "value", "out"], ["c_fc", "c_proj"]
_LAYERS = {"attention": _ATTENTION, "mlp": _MLP, "all": [*_ATTENTION, *_MLP]}


@dataclass(frozen=True)
class LoraConfig(TunedTowerConfig):
    """Settings of LoRA.

    Args:
        rank: r.
        alpha: a; what is added is scaled by a / r.
        dropout: Of the low-rank branches.
        layers: Which layers of the image tower: ``attention``, ``mlp``, or ``all``.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    layers: Literal["attention", "mlp", "all"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise UserError(
                f"expected rank >= 1, alpha > 0 and dropout in [0, 1), got {self.rank}, {self.alpha}, {self.dropout}; "
                "8, 16 and 0 are usual"
            )


@register
class Lora(TunedTower):
    """Low-rank changes of a copy of the image tower."""

    name = "lora"
    Config = LoraConfig
    config: LoraConfig

    def make_tower(self) -> nn.Module:
        """See :class:`TunedTower`."""
        import peft  # imports transformers, which nothing else here needs

        tower = self.clip.copy_image_tower()
        for block in tower.transformer.resblocks:
            block.attn = SplitAttention(block.attn)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        tower.requires_grad_(False)
        config = self.config
        chosen = peft.LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,  # pyright: ignore[reportArgumentType]
            target_modules=_LAYERS[config.layers],
        )  # fmt: skip
        return peft.inject_adapter_in_model(chosen, tower)
