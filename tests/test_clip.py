from contextlib import nullcontext

import pytest
import tiny
import torch
import torch.nn.functional as F
from open_clip.tokenizer import tokenize
from torch.nn.attention import SDPBackend, sdpa_kernel

from fer_core.clip import Clip, load
from fer_core.layers.video_adapters import VideoAdapters

TEXTS = ["a photo of a happy face.", "fear", "they look at the person who is feeling ambivalent about their contempt"]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The embedded architecture with random weights."""
    return load("embedded:random")


def images(clip: Clip, *leading: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*leading, 3, clip.image_size, clip.image_size, generator=generator)


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    "name",
    [
        "embedded",
        "ViT-B-32",
        "ViT-B-16-quickgelu",
        "ViT-S-16-alt",
        pytest.param("ViT-L-14", marks=pytest.mark.slow),
    ],
)
def test_with_nothing_injected_both_encoders_equal_open_clip(name):
    """To 1e-6 of a feature's length, and to rounding in double precision: cutting the padding off loses nothing."""
    clip = load(f"{name}:random", seed=3)
    image = images(clip, 2)
    small = sum(parameter.numel() for parameter in clip.parameters()) < 50e6
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-13)) if small else ((torch.float32, 1e-6),):
        clip, image = clip.to(dtype), image.to(dtype)
        with torch.no_grad():
            found = clip.encode_image(image)
            pairs = (
                (found.class_token, clip.model.encode_image(image)),
                (clip.encode_text(TEXTS), clip.model.encode_text(tokenize(TEXTS, clip.context_length))),
            )
        for ours, expected in pairs:
            length = expected.norm(dim=-1, keepdim=True)
            torch.testing.assert_close(ours / length, expected / length, atol=tolerance, rtol=0)
    rows, columns = clip.patch_grid
    assert found.patch_tokens is not None
    assert found.patch_tokens.shape == (2, rows * columns, clip.embed_dim)


def test_patch_tokens_are_open_clips_after_the_last_norm_and_the_projection(clip):
    image = images(clip, 3)
    seen = {}
    handle = clip.model.visual.ln_post.register_forward_hook(lambda module, inputs, output: seen.update(out=output))
    clip.model.encode_image(image)
    handle.remove()
    torch.testing.assert_close(clip.encode_image(image).patch_tokens, seen["out"][:, 1:] @ clip.model.visual.proj)
    assert clip.encode_image(image, patches=False).patch_tokens is None


def test_clips_are_encoded_frame_by_frame(clip):
    image = images(clip, 2, 3)
    found = clip.encode_image(image)
    assert found.class_token.shape == (2, 3, clip.embed_dim)
    single = clip.encode_image(image[1, 2][None])
    torch.testing.assert_close(found.class_token[1, 2], single.class_token[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.patch_tokens[1, 2], single.patch_tokens[0], atol=1e-6, rtol=1e-5)


def test_facts_of_the_embedded_model(clip):
    assert (clip.name, clip.image_size, clip.patch_grid, clip.embed_dim) == ("embedded:random", 64, (8, 8), 128)
    assert (clip.visual_width, clip.visual_layers, clip.text_width, clip.text_layers) == (160, 6, 128, 4)
    assert clip.context_length == 77
    assert clip.logit_scale == pytest.approx(1 / 0.07, rel=1e-6)
    parameters = sum(parameter.numel() for parameter in clip.parameters())
    assert 2 * parameters <= 24e6, "more than 24 MB in fp16"


def test_random_weights_are_fixed_by_the_seed_and_leave_the_generator_alone(clip):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again, other = load("embedded:random"), load("embedded:random", seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert again.weights == clip.weights != other.weights
    assert len(clip.weights) == 16


def test_everything_is_frozen_and_stays_in_evaluation_mode(clip):
    holder = torch.nn.ModuleList([clip]).train()
    assert holder.training
    assert not any(module.training for module in clip.modules())
    assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_a_context_of_word_embeddings_is_the_text_with_these_words(clip):
    words = clip.tokens(["happy face.", "fear"])
    context = clip.tokens(["a photo of a"]).embedding[0, 1:5]
    expected = clip.encode_text(["a photo of a happy face.", "a photo of a fear"])
    torch.testing.assert_close(clip.encode_text(words.with_context(context)), expected, atol=1e-6, rtol=0)
    own = torch.stack([context, clip.tokens(["they feel so much"]).embedding[0, 1:5]])
    mixed = words.with_context(own)
    assert mixed.ids[:, 1:5].eq(0).all()
    assert mixed.ids[0, 0] == words.ids[0, 0]
    assert torch.equal(mixed.eos, words.eos + 4)
    expected = clip.encode_text(["a photo of a happy face.", "they feel so much fear"])
    torch.testing.assert_close(clip.encode_text(mixed), expected, atol=1e-6, rtol=0)


def test_text_is_cut_after_the_longest_eos(clip):
    tokens = clip.tokens(TEXTS)
    assert tokens.ids.shape[1] == int(tokens.eos.max()) + 1 < clip.context_length
    assert tokens.shortest == int(tokens.eos.min())
    assert torch.equal(tokens.ids, tokenize(TEXTS)[:, : tokens.ids.shape[1]])


def test_a_copied_tower_is_trainable_and_the_frozen_one_untouched(clip):
    before, image = state(clip), images(clip, 2)
    tower = clip.copy_image_tower()
    assert all(parameter.requires_grad for parameter in tower.parameters())
    copied, own = (vars(clip.encode_image(image, tower=each)) for each in (tower, None))
    torch.testing.assert_close(copied, own, check_device=False)
    clip.encode_image(image, tower=tower).class_token.sum().backward()
    torch.optim.SGD(tower.parameters(), lr=0.1).step()
    assert not torch.equal(tower.proj, clip.model.visual.proj)
    assert all(torch.equal(before[name], tensor) for name, tensor in clip.state_dict().items())


def test_fixed_texts_are_normalised_without_gradient_and_encoded_once():
    clip = load("embedded:random")
    encoded = []
    clip.model.ln_final.register_forward_hook(lambda module, inputs, output: encoded.append(len(output)))
    first = clip.fixed_texts(["fear", "anger", "fear"])
    assert encoded == [2], "two texts in one call"
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(3))
    assert not first.requires_grad
    assert torch.equal(first[0], first[2])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        second = clip.fixed_texts(["anger", "disgust"])
    assert encoded == [2, 1], "only the new text"
    assert torch.equal(second[0], first[1])
    clip.fixed_texts(["fear", "anger", "disgust"])
    assert encoded == [2, 1]
    torch.testing.assert_close(clip.fixed_texts(["disgust"]), F.normalize(clip.encode_text(["disgust"]), dim=-1))
    # Cached under inference mode, still fit for training.
    scale = torch.ones((), requires_grad=True)
    (scale * clip.fixed_texts(["disgust"])).sum().backward()


@pytest.mark.parametrize("kernels", [None, SDPBackend.MATH])
def test_blocks_that_are_computed_again_give_the_same_gradients(kernels: SDPBackend | None) -> None:
    clip = tiny.tiny_clip()
    adapters = VideoAdapters(clip.visual_width, clip.visual_layers, frames=4, drop_path=0.5)
    tiny.stirred(adapters).train()
    image, prompts = torch.randn(2, 3, 3, 32, 32), torch.randn(2, 4, clip.visual_width, requires_grad=True)
    found = []
    for recompute in (False, True):
        torch.manual_seed(0)  # a dropped path is dropped again
        # As the engine does with half precision on a CPU: kernels are chosen for the forward pass alone.
        with nullcontext() if kernels is None else sdpa_kernel(kernels):
            encoded = clip.encode_image(image, prompts, adapters.of(3), recompute=recompute)
        loss = encoded.class_token.square().sum() + encoded.patch_tokens.sum()
        found.append(torch.autograd.grad(loss, [prompts, *adapters.parameters()]))
    for kept, again in zip(*found, strict=True):
        torch.testing.assert_close(kept, again)
    with torch.no_grad():
        assert clip.encode_image(image, recompute=True).class_token.shape == (2, 3, 24)
