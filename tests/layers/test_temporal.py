"""Models of time: against their sums written out, and at their start."""

import pytest
import torch
import torch.nn.functional as F

from fer_core.errors import UserError
from fer_core.layers.temporal import TemporalConvolution, TemporalTransformer


def test_the_convolution_is_a_mean_of_gelus() -> None:
    torch.manual_seed(0)
    layer, frames = TemporalConvolution(4), torch.randn(2, 5, 4)
    padded = F.pad(frames, (0, 0, 1, 1))
    weight, bias = layer.convolution.weight, layer.convolution.bias
    seen = [sum(padded[:, t + k] @ weight[:, :, k].T for k in range(3)) + bias for t in range(5)]
    torch.testing.assert_close(layer(frames), torch.stack([F.gelu(each) for each in seen]).mean(0))


def test_the_transformer_starts_at_the_mean_and_then_hears_the_order() -> None:
    torch.manual_seed(0)
    layer, frames = TemporalTransformer(16, layers=2, heads=4, frames=6), torch.randn(3, 5, 16)
    assert torch.equal(layer(frames), frames.mean(1))
    torch.nn.init.normal_(layer.out.weight)
    assert not torch.allclose(layer(frames), layer(frames.flip(1)), atol=1e-3)
    layer.place.data.zero_()
    torch.testing.assert_close(layer(frames), layer(frames.flip(1)))
    # One clip at a time gives the same.
    torch.testing.assert_close(layer(frames)[1:2], layer(frames[1:2]))


def test_the_transformer_refuses_what_it_cannot_hold() -> None:
    advice = r"lower data\.frames or raise model\.max_frames"
    with pytest.raises(UserError, match=rf"clips: expected at most 6 frames, got 7; {advice}"):
        TemporalTransformer(16, frames=6)(torch.zeros(1, 7, 16))
    with pytest.raises(UserError, match="heads that divide a width of 16, got 1 and 3"):
        TemporalTransformer(16, heads=3)


def test_the_transformer_equals_its_layer_written_out():
    torch.manual_seed(0)
    layer, frames = TemporalTransformer(16, layers=1, heads=4, frames=6).train(), torch.randn(3, 5, 16)
    torch.nn.init.normal_(layer.out.weight)
    (block,) = layer.encoder.layers
    x = torch.cat([layer.token.expand(3, -1, -1), frames], 1) + layer.place[:, :6]
    normed = block.norm1(x)
    x = x + block.self_attn(normed, normed, normed, need_weights=False)[0]
    assert block.linear1.out_features == 4 * 16
    x = x + block.linear2(F.gelu(block.linear1(block.norm2(x))))
    torch.testing.assert_close(layer(frames), frames.mean(1) + layer.out(x[:, 0]))
