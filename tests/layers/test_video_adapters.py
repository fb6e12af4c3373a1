"""Adapters for clips: nothing at the start, attention over time as a loop, and their published size."""

import open_clip
import pytest
import torch
from tiny import stirred, tiny_clip

from fer_core.clip import Clip, load
from fer_core.errors import UserError
from fer_core.layers.video_adapters import Bottleneck, VideoAdapters


@pytest.fixture(scope="module")
def tower() -> Clip:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vision = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8}
        text = {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
        return Clip(open_clip.CLIP(12, vision, text), "toy:random", (0.5,) * 3, (0.25,) * 3)


def clips(count: int = 2, frames: int = 3) -> torch.Tensor:
    return torch.randn(count, frames, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def test_at_the_start_nothing_is_changed(tower: Clip) -> None:
    adapters = VideoAdapters(16, 2).train()
    found = tower.encode_image(clips(), adapters=adapters.of(3))
    torch.testing.assert_close(found.class_token, tower.encode_image(clips()).class_token, atol=1e-6, rtol=0)


@pytest.mark.parametrize("parts", [("temporal",), ("spatial",), ("joint",), ("temporal", "spatial", "joint")])
def test_it_equals_a_loop_over_places_and_frames(tower: Clip, parts: tuple[str, ...]) -> None:
    chosen = {name: name in parts for name in ("temporal", "spatial", "joint")}
    adapters = stirred(VideoAdapters(16, 2, frames=4, reduction=2, **chosen), 0.3)
    visual, frames = tower.model.visual, clips()
    found = tower.encode_image(frames, adapters=adapters.of(3)).class_token
    for number, clip in enumerate(frames):
        x = visual._embeds(clip) + adapters.place[:3, None]  # (T, L, W)
        for block, adapter in zip(visual.transformer.resblocks, adapters.blocks, strict=True):
            if adapter.temporal is not None:
                moved = torch.zeros_like(x)
                for place in range(x.shape[1]):
                    over_time = block.ln_1(x[:, place])[None]
                    moved[:, place] = adapter.temporal(block.attn(over_time, over_time, over_time)[0][0])
                x = x + moved
            within = []
            for frame in x:
                normed = block.ln_1(frame)[None]
                delta = block.attn(normed, normed, normed)[0][0]
                within.append(delta if adapter.spatial is None else delta + adapter.spatial(delta))
            x = x + torch.stack(within)
            normed = block.ln_2(x)
            beside = 0.0 if adapter.joint is None else 0.5 * adapter.joint(normed)
            x = x + block.mlp(normed) + beside
        expected = visual.ln_post(x[:, 0]) @ visual.proj
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=1e-4)


def test_adapters_have_the_derived_size() -> None:
    adapters = VideoAdapters(768, 12, frames=16)
    assert sum(parameter.numel() for parameter in adapters.blocks.parameters()) == 10_651_392
    assert adapters.place.shape == (16, 768)
    assert load("ViT-B-16:random").visual_width == 768


def test_refuses_clips_that_are_too_long() -> None:
    with pytest.raises(UserError, match="clips: expected at most 2 frames, got 3; lower"):
        VideoAdapters(16, 2, frames=2).of(3)


def test_a_bottleneck_starts_at_zero() -> None:
    assert Bottleneck(8, 2)(torch.randn(3, 8)).abs().max() == 0


def test_a_watched_adapter_keeps_whom_class_tokens_attend_to(tower: Clip) -> None:
    adapters = stirred(VideoAdapters(16, 2, frames=4, reduction=2), 0.3).eval()
    plain = tower.encode_image(clips(), adapters=adapters.of(3)).class_token
    for block in adapters.blocks:
        block.watched = True
    torch.testing.assert_close(tower.encode_image(clips(), adapters=adapters.of(3)).class_token, plain)
    first = adapters.blocks[0]
    block = tower.model.visual.transformer.resblocks[0]
    x = tower.model.visual._embeds(clips().flatten(0, 1)).unflatten(0, (2, 3))[:, :, 0] + adapters.place[:3]
    query, key, _ = (block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, -1)
    heads = [torch.einsum("btd,bsd->bts", q, k) / 8**0.5 for q, k in zip(query.split(8, -1), key.split(8, -1))]  # noqa: B905
    expected = torch.stack([each.softmax(-1) for each in heads]).mean(0)
    torch.testing.assert_close(first.attended, expected)
    assert first.attended.shape == (2, 3, 3)


@pytest.mark.parametrize("part", ["temporal", "joint"])
def test_a_clip_goes_without_either_path_as_a_whole(part):
    tower, image = tiny_clip(), torch.randn(8, 3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    parts = {name: name == part for name in ("temporal", "spatial", "joint")}
    adapters = stirred(VideoAdapters(32, 3, drop_path=0.5, **parts), 0.3)
    with torch.no_grad():
        adapters.place.zero_()
        for block in adapters.blocks[1:]:  # one path is left
            for each in getattr(block, part).up.parameters():
                each.zero_()
    torch.manual_seed(0)
    found = tower.encode_image(image, adapters=adapters.train().of(3), patches=False).class_token
    plain = tower.encode_image(image, patches=False).class_token
    with torch.no_grad():
        for each in getattr(adapters.blocks[0], part).up.parameters():
            each.mul_(2)  # what is kept makes up for what is dropped
    whole = tower.encode_image(image, adapters=adapters.eval().of(3), patches=False).class_token
    dropped, kept = ((found - other).abs().amax((1, 2)) < 1e-5 for other in (plain, whole))
    assert (dropped ^ kept).all()
    assert dropped.any()
    assert kept.any()  # clips are drawn one by one
