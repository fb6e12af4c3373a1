"""ST-Adapter against a three-dimensional convolution written out, and its number of parameters."""

import tiny
import torch

from fer_core.layers.st_adapter import StAdapter, StAdapters


def test_equals_a_convolution_over_time_and_space() -> None:
    torch.manual_seed(0)
    adapter = StAdapter(12, 6).double()
    torch.nn.init.normal_(adapter.over_time.weight)
    torch.nn.init.normal_(adapter.over_time.bias)
    adapter.frames = 5
    x = torch.randn(2 * 5, 1 + 9, 12, dtype=torch.float64)
    found = adapter.before(x, None)  # pyright: ignore[reportArgumentType]
    clips = adapter.down(x[:, 1:]).view(2, 5, 3, 3, 6).permute(0, 4, 1, 2, 3)  # (B, W, T, H, W)
    convolution = torch.nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0), groups=6).double()
    convolution.weight.data = adapter.over_time.weight.data[..., None, None]
    convolution.bias.data = adapter.over_time.bias.data
    mixed = adapter.up(convolution(clips).permute(0, 2, 3, 4, 1).reshape(10, 9, 6))
    torch.testing.assert_close(found[:, 1:], x[:, 1:] + mixed)
    assert torch.equal(found[:, 0], x[:, 0])


def test_changes_nothing_at_the_start_and_lets_frames_meet_later() -> None:
    clip = tiny.tiny_clip()
    adapters = StAdapters(clip.visual_width, clip.visual_layers, 8)
    image = torch.randn(2, 4, 3, 32, 32)
    plain = clip.encode_image(image, patches=False).class_token
    torch.testing.assert_close(clip.encode_image(image, adapters=adapters.of(4), patches=False).class_token, plain)
    for block in adapters.blocks:
        torch.nn.init.normal_(block.over_time.weight)
    other = image.clone()
    other[0, 0] += 1.0
    one, two = (clip.encode_image(each, adapters=adapters.of(4), patches=False).class_token for each in (image, other))
    assert (one[0] - two[0]).abs().amax(-1).min() > 1e-4  # a frame is heard in all frames of its clip
    torch.testing.assert_close(one[1], two[1])  # and in no other clip


def test_has_the_papers_number_of_parameters() -> None:
    assert sum(each.numel() for each in StAdapters(768, 12, 384).parameters()) == 7_110_144
