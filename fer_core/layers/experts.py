"""A mixture of bottleneck experts whose router looks at the image and at what it reads from it about the classes.

Our reading of the *emotion-sensitive adaptive mixture-of-experts* that the abstract of LES-CLIP (Fu et al., MM 2025)
names; its shape is not public. Per image, with the class token x of the residual stream::

    logits = W_g LN(x) + W_e c + noise        c: softmax over the classes of the token's likeness to their texts, (C,)
    g      = softmax over the k largest logits, 0 for the others; for k = 1 of several experts the softmax over all
    out    = s * sum_e g_e E_e(tokens)        E_e: Linear(d, r), GELU, dropout, Linear(r, d)
    noise  = N(0, 1) * softplus(W_n LN(x)), in training only (Shazeer et al. 2017, arXiv 1701.06538, equation 4)

With k = 1 the softmax over one logit would be 1 and teach the router nothing, so that its gate is its probability
(Fedus et al. 2022, Switch Transformers, arXiv 2101.03961, equation 2). Before the first block the class token is the
same in all images: there x is the mean of the patch tokens.

The last layers of the experts start at zero, and so does W_e: at the start nothing is added, and the router is a plain
one. Mixtures parallel to a CLIP block's MLP with a gate for each image are known from MoE-Adapters4CL (Yu et al. 2024,
arXiv 2403.11549).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from fer_core.clip import BlockAdapter
from fer_core.errors import UserError
from fer_core.losses.load_balance import load_balance

_INIT = 0.02


class Experts(nn.Module):
    """The mixture itself, for tokens of any kind.

    Args:
        width: Width d of the tokens.
        classes: Number C of classes that the router hears of.
        count: Number E of experts.
        bottleneck: Their inner width r.
        top: How many experts an image is sent to, k.
        dropout: Of the inner layer.
        scale: Start of the learned factor s.

    Attributes:
        gates: ``(B, E)`` weights of the last forward pass, zeros where an expert was not asked.
        balance: The load-balance loss of the last forward pass.

    Raises:
        UserError: If there are fewer experts than an image is sent to.
    """

    gates: Tensor
    balance: Tensor

    def __init__(
        self, width: int, classes: int, count: int = 4, bottleneck: int = 16, top: int = 2, dropout: float = 0.1,
        scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 1 <= top <= count:
            raise UserError(
                f"experts: expected 1 to {count} experts an image, got {top}; lower the number, or add some"
            )
        self.count, self.top = count, top
        # All experts' bottlenecks lie side by side in one matrix: a gate scales its own.
        self.down = nn.Linear(width, count * bottleneck)
        self.up = nn.Linear(count * bottleneck, width, bias=False)
        self.up_bias = nn.Parameter(torch.zeros(count, width))
        nn.init.zeros_(self.up.weight)
        self.dropout = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.tensor(scale))
        self.router = nn.Linear(width, count, bias=False)
        self.noise = nn.Linear(width, count, bias=False)
        self.listen = nn.Linear(classes, count, bias=False)
        for layer in (self.router, self.noise):
            nn.init.normal_(layer.weight, std=_INIT)
        nn.init.zeros_(self.listen.weight)

    def forward(self, tokens: Tensor, asked: Tensor, reading: Tensor | None) -> Tensor:
        """What the experts add to the tokens.

        Args:
            tokens: ``(B, L, d)``, normalised as the experts shall see them.
            asked: ``(B, d)`` what the router looks at, as a rule the class token; not normalised.
            reading: ``(B, C)`` class probabilities that the router hears of; None for a plain router.

        Returns:
            ``(B, L, d)``.
        """
        self.gates, soft = self._route(asked, reading)
        self.balance = load_balance(self.gates > 0, soft)
        inner = self.dropout(F.gelu(self.down(tokens)))
        gates = self.gates.to(inner.dtype)
        each = gates.repeat_interleave(inner.shape[-1] // self.count, 1)  # (B, E * r)
        mixed = self.up(inner * each[:, None]) + (gates @ self.up_bias.to(gates.dtype))[:, None]
        return self.scale * mixed

    def _route(self, asked: Tensor, reading: Tensor | None) -> tuple[Tensor, Tensor]:
        """Gates ``(B, E)`` of the k best, and the softmax over all before noise."""
        token = asked.to(torch.promote_types(asked.dtype, torch.float32))
        normed = F.layer_norm(token, token.shape[-1:])
        logits = self.router(normed)
        if reading is not None:
            logits = logits + self.listen(reading.to(logits.dtype))
        clean = logits.to(token.dtype)
        noisy = clean
        if self.training:
            noisy = clean + torch.randn_like(clean) * F.softplus(self.noise(normed).to(token.dtype))
        best, chosen = noisy.topk(self.top, dim=1)
        kept = noisy.softmax(1).gather(1, chosen) if self.top == 1 and self.count > 1 else best.softmax(1)
        gates = torch.zeros_like(clean).scatter(1, chosen, kept)
        return gates, clean.softmax(1)


class ExpertBlock(BlockAdapter):
    """The mixture in a transformer block, parallel to its MLP or before the block.

    Args:
        experts: The mixture.
        reading: Gives class probabilities ``(B, C)`` out of a token ``(B, d)`` of the residual stream; None for a
            plain router.
        before: Whether the mixture changes the block's input (its patch tokens alone) in place of the MLP's output.
    """

    def __init__(self, experts: Experts, reading: Callable[[Tensor], Tensor] | None, before: bool = False) -> None:
        super().__init__()
        self.experts, self._reading, self._before = experts, reading, before

    def _mixed(self, tokens: Tensor, asked: Tensor) -> Tensor:
        reading = None if self._reading is None else self._reading(asked)
        return self.experts(tokens, asked, reading)

    def before(self, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """See :meth:`BlockAdapter.before`."""
        if not self._before:
            return x
        patches = F.layer_norm(x[:, 1:], x.shape[-1:])
        return torch.cat([x[:, :1], x[:, 1:] + self._mixed(patches, x[:, 1:].mean(1))], 1)

    def mlp(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """See :meth:`BlockAdapter.mlp`."""
        return delta if self._before else delta + self._mixed(normed, x[:, 0])
