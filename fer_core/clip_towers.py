"""How prompts and adapters enter open_clip's two transformers; package-private, see :mod:`fer_core.clip`.

The blocks stay open_clip's own modules. Their two residual branches are written out, so that an adapter can enter them,
and so that attention comes back by a shorter way than torch's module has, see :func:`attend`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.backends import cuda
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from fer_core.batch import ImageFeatures
from fer_core.errors import UserError


class BlockAdapter(nn.Module):
    """What a method may change in one transformer block; each place is the identity until it is overridden.

    ``x`` is ``(B, L, W)``, the residual stream where it enters that place. ``block`` is open_clip's block and gives
    ``ln_1``, ``attn``, ``ln_2`` and ``mlp``. In the image tower the sequence is the class token, the patches, and then
    this block's prompt tokens, if there are any.

    Attributes:
        by_token: Whether ``attention`` and ``mlp`` treat each token without looking at others. Such an adapter gets in
            these places only the tokens that are read after the block: no prompts, and in the last block the class
            token alone where no patches are asked for. Others get all.
    """

    by_token = False

    def before(self, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """The block's input ``(B, L, W)``."""
        return x

    def attention(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """What attention adds to the residual stream, ``(B, L, W)``.

        Args:
            delta: What it adds without an adapter, after LayerScale, ``(B, L, W)``.
            normed: ``ln_1(x)``.
            x: The stream before it.
            block: open_clip's block.
        """
        return delta

    def mlp(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        """What the MLP adds to the residual stream, ``(B, L, W)``.

        Args:
            delta: What it adds without an adapter, after LayerScale, ``(B, L, W)``.
            normed: ``ln_2(x)``.
            x: The stream before it.
            block: open_clip's block.
        """
        return delta


class _Unchanged(BlockAdapter):
    by_token = True


_UNCHANGED = _Unchanged()

#: What each block of a tower is given, from the first on; None where a block stays as it is.
Adapters = Sequence[BlockAdapter | None]


@dataclass(frozen=True)
class TextTokens:
    """Tokenised texts, cut after the longest one's end-of-text token (EOS).

    Args:
        ids: ``(N, L)`` int64, zero after EOS and where a learned vector stands.
        embedding: ``(N, L, W)``, token embeddings without positions.
        eos: ``(N,)`` int64, each text's EOS position, where its feature is read.
        shortest: The least of ``eos``, known without asking the device.
        limit: The longest sequence that the text tower takes.
    """

    ids: Tensor
    embedding: Tensor
    eos: Tensor
    shortest: int
    limit: int

    def to(self, device: torch.device | str) -> "TextTokens":
        """The same tokens on another device."""
        ids, embedding, eos = (each.to(device) for each in (self.ids, self.embedding, self.eos))
        return TextTokens(ids, embedding, eos, self.shortest, self.limit)  # torch.compile of old cannot see replace()

    def repeated(self, times: int) -> "TextTokens":
        """All texts one after another, so many times: ``(times * N, L)``."""
        ids, embedding = self.ids.repeat(times, 1), self.embedding.repeat(times, 1, 1)
        return replace(self, ids=ids, embedding=embedding, eos=self.eos.repeat(times))

    def with_context(self, context: Tensor) -> "TextTokens":
        """Puts learnable vectors between SOS and the words, which keep their order and their EOS.

        Args:
            context: ``(P, W)``, shared by all texts, or ``(N, P, W)``, one set a text.

        Raises:
            UserError: If the shape does not fit, or the sequence would outgrow the text tower.
        """
        texts, length, width = self.embedding.shape
        if (
            context.ndim not in (2, 3)
            or context.shape[-1] != width
            or (context.ndim == 3 and context.shape[0] != texts)
        ):
            raise UserError(
                f"expected a context of shape (P, {width}) or ({texts}, P, {width}), got {tuple(context.shape)}; "
                "build it with clip.text_width and one entry a text"
            )
        extra = context.shape[-2]
        if length + extra > self.limit:
            raise UserError(
                f"expected at most {self.limit} tokens a text, got {length} and {extra} of context; shorten either"
            )
        here = self.to(context.device)
        context = context.to(here.embedding.dtype).expand(texts, extra, width)
        blank = here.ids.new_zeros(texts, extra)
        return TextTokens(
            ids=torch.cat([here.ids[:, :1], blank, here.ids[:, 1:]], dim=1),
            embedding=torch.cat([here.embedding[:, :1], context, here.embedding[:, 1:]], dim=1),
            eos=here.eos + extra,
            shortest=self.shortest + extra,
            limit=self.limit,
        )


def check_model(model: nn.Module) -> None:
    """Refuses towers without the places that the methods of this field use.

    Raises:
        UserError: If ``model`` is not an open_clip CLIP of a ViT, pooled at its class token, and a causal text
            transformer, pooled at EOS, both made of plain residual attention blocks.
    """
    found = None
    if not isinstance(model, open_clip.CLIP):
        found = type(model).__name__
    elif not isinstance(model.visual, VisionTransformer):
        found = f"the image tower {type(model.visual).__name__}"
    elif model.visual.attn_pool is not None or model.visual.pool_type != "tok" or model.visual.final_ln_after_pool:
        found = "an image tower that pools otherwise"
    elif model.text_pool_type != "argmax" or model.attn_mask is None:
        found = "a text tower that is not causal with pooling at EOS"
    elif model.logit_bias is not None:
        found = "a sigmoid CLIP (logit bias)"
    elif not all(
        type(block) is ResidualAttentionBlock
        for block in (*model.visual.transformer.resblocks, *model.transformer.resblocks)
    ):
        found = "blocks with extra norms or scales in their attention"
    if found:
        raise UserError(
            f"expected an open_clip CLIP whose ViT is pooled at its class token, got {found}; "
            "choose a plain ViT such as ViT-B-16-quickgelu:openai"
        )


def _check_injection(tower: str, layers: int, width: int, prompts: Tensor | None, adapters: Adapters | None) -> None:
    """Refuses prompts and adapters that a tower has no room for."""
    if prompts is not None and (prompts.ndim != 3 or len(prompts) > layers or prompts.shape[2] != width):
        raise UserError(
            f"expected prompts of shape (layers, P, {width}) with at most {layers} layers for the {tower} tower, "
            f"got {tuple(prompts.shape)}; build them with the Clip's width and layers"
        )
    if adapters is not None and len(adapters) != layers:
        raise UserError(
            f"expected {layers} adapters for the {tower} tower, one or None a block, got {len(adapters)}; "
            "fill the list with None"
        )


def attend(
    block: ResidualAttentionBlock, normed: Tensor, mask: Tensor | None = None, read: int | None = None
) -> Tensor:
    """A block's self-attention, as its own ``attention`` computes it, to the last digit where a tower is trained.

    ``torch.nn.MultiheadAttention`` stacks queries, keys and values and takes each from the stack; going back, each of
    the three becomes a stack of zeros that is filled and added to the others. Cut from one projection they are put
    side by side once, which saves a third of the attention's time in training.

    Args:
        block: open_clip's block; with another attention than torch's in it, that one is called.
        normed: ``ln_1(x)``, ``(B, L, W)``.
        mask: ``(L, L)``, added to the scores.
        read: How many of the first tokens are read, all by default. The others are looked at and do not look.

    Returns:
        ``(B, L, W)`` or ``(B, read, W)``, before LayerScale.
    """
    attention = block.attn
    if type(attention) is not nn.MultiheadAttention or not attention.batch_first or attention.in_proj_weight is None:
        return block.attention(normed[:, :read], normed, normed, None if mask is None else mask[:read])
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if read is None:
        parts = F.linear(normed, weight, bias).chunk(3, dim=-1)  # (B, L, W) each
    else:
        width = normed.shape[-1]
        query = F.linear(normed[:, :read], weight[:width], None if bias is None else bias[:width])
        parts = (query, *F.linear(normed, weight[width:], None if bias is None else bias[width:]).chunk(2, dim=-1))
    query, key, value = (each.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for each in parts)
    mask = None if mask is None else mask[:read].to(query.dtype)
    seen = F.scaled_dot_product_attention(query, key, value, mask)
    return attention.out_proj(seen.transpose(1, 2).flatten(2))


def _run_block(
    block: ResidualAttentionBlock, x: Tensor, mask: Tensor | None, adapter: BlockAdapter | None, read: int | None = None
) -> Tensor:
    """One residual block on ``(B, L, W)``, around its adapter; ``(B, read, W)`` where only some are read."""
    adapter = _UNCHANGED if adapter is None else adapter
    some = read if adapter.by_token else None
    x = adapter.before(x, block)
    normed = block.ln_1(x)
    delta, normed, x = block.ls_1(attend(block, normed, mask, some)), normed[:, :some], x[:, :some]
    x = x + adapter.attention(delta, normed, x, block)
    normed = block.ln_2(x)
    return (x + adapter.mlp(block.ls_2(block.mlp(normed)), normed, x, block))[:, :read]


def _checkpointed() -> Callable[..., Tensor]:
    """``_run_block``, run again in the backward pass, with the kernels of attention that are allowed now.

    Autograd restores autocast and dice itself; the choice of kernels is forgotten by then, and others keep other
    tensors, which it refuses.
    """
    allowed = {
        SDPBackend.FLASH_ATTENTION: cuda.flash_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: cuda.mem_efficient_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: cuda.cudnn_sdp_enabled(),
        SDPBackend.MATH: cuda.math_sdp_enabled(),
    }
    kernels = [kernel for kernel, is_allowed in allowed.items() if is_allowed]

    def run(*arguments: Any) -> Tensor:
        with sdpa_kernel(kernels):
            return _run_block(*arguments)

    return partial(checkpoint, run, use_reentrant=False)


def encode_image(
    visual: VisionTransformer, image: Tensor, prompts: Tensor | None, adapters: Adapters | None, patches: bool,
    recompute: bool = False,
) -> ImageFeatures:  # fmt: skip
    """Runs an image tower; arguments and results as in :meth:`fer_core.clip.Clip.encode_image`."""
    if image.ndim not in (4, 5) or tuple(image.shape[-3:]) != (3, *visual.image_size) or not image.is_floating_point():
        height, width = visual.image_size
        raise UserError(
            f"expected float images (B, 3, {height}, {width}) or clips (B, T, 3, {height}, {width}), got {image.dtype} "
            f"{tuple(image.shape)}; resize and normalise them with the Clip's image_size, mean and std"
        )
    blocks: Any = visual.transformer.resblocks
    _check_injection("image", len(blocks), visual.conv1.out_channels, prompts, adapters)
    frames = image.flatten(0, 1) if image.ndim == 5 else image
    x = visual._embeds(frames)  # (B, 1 + N, W)
    length = x.shape[1]
    run = _checkpointed() if recompute and torch.is_grad_enabled() else _run_block
    for index, block in enumerate(blocks):
        adapter = None if adapters is None else adapters[index]
        # The class token is all that is read of the last block, unless patches are asked for.
        read = length if patches or index + 1 < len(blocks) else 1
        if prompts is not None and index < len(prompts):
            own = prompts[index].to(x.dtype).expand(x.shape[0], -1, -1)  # (B, P, W)
            x = torch.cat([x, own], dim=1)
        x = run(block, x, None, adapter, read if read < x.shape[1] else None)
    x = visual.ln_post(x)
    class_token = x[:, 0] @ visual.proj  # (B, D)
    patch_tokens = x[:, 1:] @ visual.proj if patches else None  # (B, N, D)
    if image.ndim == 5:
        leading = image.shape[:2]
        class_token = class_token.unflatten(0, leading)
        patch_tokens = None if patch_tokens is None else patch_tokens.unflatten(0, leading)
    return ImageFeatures(class_token, patch_tokens)


def encode_text(model: Any, tokens: TextTokens, prompts: Tensor | None, adapters: Adapters | None) -> Tensor:
    """Runs the text tower; arguments and results as in :meth:`fer_core.clip.Clip.encode_text`."""
    blocks = model.transformer.resblocks
    x = tokens.embedding  # (N, L, W)
    texts, length, width = x.shape
    _check_injection("text", len(blocks), width, prompts, adapters)
    if prompts is not None and prompts.shape[1] >= tokens.shortest:
        raise UserError(
            f"expected fewer than {tokens.shortest} text prompts, as they take the places of a text's words, "
            f"got {prompts.shape[1]}; use fewer, or put placeholder words before the class name"
        )

    def place(x: Tensor, index: int) -> Tensor:
        """Layer ``index``'s prompts in the places after SOS."""
        if prompts is None or index >= len(prompts):
            return x
        own = prompts[index].to(x.dtype).expand(texts, -1, -1)  # (N, P, W)
        return torch.cat([x[:, :1], own, x[:, 1 + own.shape[1] :]], dim=1)

    # The first layer's prompts stand for token embeddings, so they too get positions.
    x = place(x, 0) + model.positional_embedding[:length]
    # No token looks ahead: what lies after the longest EOS changes nothing before it and is never computed.
    mask = model.attn_mask[:length, :length]
    for index, block in enumerate(blocks):
        adapter = None if adapters is None else adapters[index]
        x = _run_block(block, place(x, index) if index else x, mask, adapter)
    x = model.ln_final(x)
    x = x[torch.arange(texts, device=x.device), tokens.eos]  # (N, W)
    projection = model.text_projection
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection
