"""Attention whose queries, keys, values and output are layers of their own."""

import torch.nn.functional as F
from torch import Tensor, nn


class SplitAttention(nn.Module):
    """Does what a ``MultiheadAttention`` does, by four linear layers that other libraries can change one by one.

    torch keeps the first three in one matrix that no layer owns. peft's way around that was tried and left: what it
    adds to the output layer of such an attention counted twice, and frozen weights drifted by rounding.

    Args:
        attention: Batch first, with biases, queries, keys and values of one width; its weights are copied.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        width = attention.embed_dim
        self.heads = attention.num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        assert attention.in_proj_weight is not None
        for layer, weight, bias in zip(
            (self.query, self.key, self.value), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3),
            strict=True,
        ):  # fmt: skip
            layer.weight.data.copy_(weight)
            layer.bias.data.copy_(bias)
        self.out.weight.data.copy_(attention.out_proj.weight)
        self.out.bias.data.copy_(attention.out_proj.bias)
        self.to(attention.in_proj_weight.device, attention.in_proj_weight.dtype)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """The attention's output ``(B, L, W)``, and no weights."""
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        seen = F.scaled_dot_product_attention(
            split(self.query(query)), split(self.key(key)), split(self.value(value)), attn_mask=attn_mask
        )
        return self.out(seen.transpose(1, 2).flatten(2)), None
