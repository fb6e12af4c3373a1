"""Prompts and adapters in both towers."""

import copy

import open_clip
import pytest
import torch
from open_clip.tokenizer import tokenize

from fer_core import flops
from fer_core.clip import BlockAdapter, Clip, attend, load
from fer_core.errors import UserError
from fer_core.layers.split_attention import SplitAttention

TEXTS = ["a photo of a happy face.", "fear", "they look at the person who is feeling ambivalent about their contempt"]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The embedded architecture with random weights."""
    return load("embedded:random")


def images(clip: Clip, *leading: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*leading, 3, clip.image_size, clip.image_size, generator=generator)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


# Prompts


def test_deep_visual_prompts_equal_a_naive_loop(clip):
    image, prompts = images(clip, 2), draw(4, 3, clip.visual_width)
    found = clip.encode_image(image, prompts=prompts)
    visual = clip.model.visual
    for sample in range(2):
        patches = visual.conv1(image[sample : sample + 1])[0].flatten(1).T
        tokens = torch.cat([visual.class_embedding[None], patches]) + visual.positional_embedding
        tokens = visual.ln_pre(tokens)
        for layer, block in enumerate(visual.transformer.resblocks):
            sequence = torch.cat([tokens, prompts[layer]]) if layer < 4 else tokens
            tokens = block(sequence[None])[0][: 1 + 64]
        projected = visual.ln_post(tokens) @ visual.proj
        torch.testing.assert_close(found.class_token[sample], projected[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.patch_tokens[sample], projected[1:], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found.class_token, clip.encode_image(image).class_token, atol=1e-3)


def test_deep_text_prompts_equal_a_naive_loop(clip):
    prompts = draw(3, 2, clip.text_width)
    texts = ["a photo of a happy face.", "a b fear"]
    found = clip.encode_text(texts, prompts=prompts)
    model, ids = clip.model, tokenize(texts)
    for row, feature in zip(ids, found, strict=True):
        tokens = model.token_embedding(row)
        for layer, block in enumerate(model.transformer.resblocks):
            if layer < 3:
                tokens = torch.cat([tokens[:1], prompts[layer], tokens[3:]])
            if layer == 0:
                tokens = tokens + model.positional_embedding
            tokens = block(tokens[None], attn_mask=model.attn_mask)[0]
        expected = (model.ln_final(tokens) @ model.text_projection)[row.argmax()]
        torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, clip.encode_text(texts), atol=1e-3)


# Adapters


class Gate(BlockAdapter):
    """Scales the three places; all ones is the identity."""

    def __init__(self, before: float = 1.0, attention: float = 1.0, mlp: float = 1.0) -> None:
        super().__init__()
        self.gates = torch.nn.Parameter(torch.tensor([before, attention, mlp]))

    def before(self, x, block):
        return self.gates[0] * x

    def attention(self, delta, normed, x, block):
        return self.gates[1] * delta

    def mlp(self, delta, normed, x, block):
        return self.gates[2] * delta


@pytest.mark.parametrize("name", ["embedded", "ViT-S-16-alt"])
def test_adapters_at_the_identity_change_nothing(name):
    clip = load(f"{name}:random").double()
    image = images(clip, 2).double()
    prompts = draw(2, 3, clip.visual_width).double()
    for adapter in (BlockAdapter(), Gate()):
        found = clip.encode_image(image, prompts, adapters=[adapter] * clip.visual_layers)
        expected = clip.encode_image(image, prompts)
        torch.testing.assert_close(found.class_token, expected.class_token, atol=1e-12, rtol=0)
        torch.testing.assert_close(found.patch_tokens, expected.patch_tokens, atol=1e-12, rtol=0)
        texts = clip.encode_text(TEXTS, adapters=[adapter] * clip.text_layers)
        torch.testing.assert_close(texts, clip.encode_text(TEXTS), atol=1e-12, rtol=0)


def test_adapters_get_the_residual_branches(clip):
    class Watch(BlockAdapter):
        def before(self, x, block):
            self.x = 2 * x
            return self.x

        def attention(self, delta, normed, x, block):
            torch.testing.assert_close(x, self.x)
            torch.testing.assert_close(normed, block.ln_1(x))
            torch.testing.assert_close(delta, block.attn(normed, normed, normed, need_weights=False)[0])
            self.x = self.x + 2 * delta
            return 2 * delta

        def mlp(self, delta, normed, x, block):
            torch.testing.assert_close(x, self.x)
            torch.testing.assert_close(normed, block.ln_2(x))
            torch.testing.assert_close(delta, block.mlp(normed))
            self.length = normed.shape[1]
            return delta

    adapters = [None, Watch(), None, None, Watch(), None]
    clip.encode_image(images(clip, 2), prompts=draw(2, 3, clip.visual_width), adapters=adapters)
    assert (adapters[1].length, adapters[4].length) == (1 + 64 + 3, 1 + 64)


def test_a_closed_block_passes_its_input_through(clip):
    """Both branches at zero in every block: the class token is the normed embedding, projected."""
    adapters = [Gate(attention=0.0, mlp=0.0) for _ in range(clip.visual_layers)]
    visual = clip.model.visual
    token = visual.ln_pre(visual.class_embedding + visual.positional_embedding[0])
    expected = visual.ln_post(token) @ visual.proj
    found = clip.encode_image(images(clip, 2), adapters=adapters, patches=False).class_token
    torch.testing.assert_close(found, expected.expand(2, -1), atol=1e-5, rtol=1e-5)


# Gradients


def test_gradients_reach_what_was_injected_and_nothing_else(clip):
    before = state(clip)
    prompts = draw(2, 3, clip.visual_width).requires_grad_()
    gate = Gate()
    features = clip.encode_image(images(clip, 2), prompts, adapters=[None] * 5 + [gate])
    context, deep = draw(4, clip.text_width).requires_grad_(), draw(2, 2, clip.text_width).requires_grad_()
    texts = clip.encode_text(clip.tokens(["happy", "fear"]).with_context(context), prompts=deep)
    (features.class_token.square().sum() + features.patch_tokens.sum() + texts.square().sum()).backward()
    for injected in (prompts, deep, gate.gates, context):
        assert injected.grad is not None
        assert injected.grad.abs().sum() > 0
    # Layer 0's text prompts take the first two places of the context: no gradient can reach it there.
    assert context.grad[:2].abs().sum() == 0
    assert context.grad[2:].abs().sum() > 0
    assert all(parameter.grad is None for parameter in clip.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in clip.state_dict().items())


def test_only_blocks_above_the_lowest_trained_parameter_keep_activations(clip):
    def kept(position: int) -> int:
        sizes = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel() if tensor.requires_grad or tensor.grad_fn is not None else 0)
            return tensor

        adapters = [None] * clip.visual_layers
        adapters[position] = Gate()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            clip.encode_image(images(clip, 2), adapters=adapters, patches=False)
        return sum(sizes)

    assert kept(5) < kept(0) / 3


def test_both_encoders_compile_into_one_graph(clip):
    prompts, context = draw(2, 3, clip.visual_width), draw(4, clip.text_width)
    image, words = images(clip, 2), clip.tokens(["happy", "fear"])

    def both(image, prompts, context):
        tower = clip.encode_image(image, prompts, adapters=[None] * 5 + [BlockAdapter()])
        return tower.class_token @ clip.encode_text(words.with_context(context)).T

    compiled = torch.compile(both, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image, prompts, context), both(image, prompts, context), atol=1e-5, rtol=1e-5)


# What does not fit


def test_shapes_that_do_not_fit_are_refused_in_one_line(clip):
    image = images(clip, 1)
    words = clip.tokens(["fear", "anger"])
    deep = torch.zeros(1, 2, clip.text_width)
    cases = [
        ("float images", lambda: clip.encode_image(torch.zeros(1, 3, 32, 32))),
        ("float images", lambda: clip.encode_image(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))),
        ("float images", lambda: clip.encode_image(torch.zeros(3, 64, 64))),
        ("at most 6 layers", lambda: clip.encode_image(image, prompts=torch.zeros(7, 2, 160))),
        (r"\(layers, P, 160\)", lambda: clip.encode_image(image, prompts=torch.zeros(2, 2, 128))),
        ("6 adapters", lambda: clip.encode_image(image, adapters=[None])),
        ("at most 4 layers", lambda: clip.encode_text(["fear"], prompts=torch.zeros(5, 1, 128))),
        ("4 adapters", lambda: clip.encode_text(["fear"], adapters=[None])),
        ("fewer than 2 text prompts", lambda: clip.encode_text(["fear"], prompts=deep)),
        (r"\(P, 128\) or \(2, P, 128\)", lambda: words.with_context(torch.zeros(4, 64))),
        (r"\(P, 128\) or \(2, P, 128\)", lambda: words.with_context(torch.zeros(3, 4, 128))),
        ("at most 77 tokens", lambda: words.with_context(torch.zeros(75, 128))),
        ("at most 77 tokens", lambda: clip.encode_text(["fear " * 80])),
        ("at least one text", lambda: clip.encode_text([])),
    ]
    for message, call in cases:
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    assert words.with_context(torch.zeros(74, 128)).embedding.shape[1] == clip.context_length


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_cfg": {"pool_type": "avg"}}, "pools otherwise"),
        ({"vision_cfg": {"attentional_pool": True}}, "pools otherwise"),
        ({"vision_cfg": {"final_ln_after_pool": True}}, "pools otherwise"),
        ({"vision_cfg": {"qk_norm": True}}, "extra norms"),
        ({"vision_cfg": {"layers": (1, 1, 1, 1), "head_width": 64, "width": 16}}, "ModifiedResNet"),
        ({"text_cfg": {"pool_type": "last"}}, "not causal with pooling at EOS"),
        ({"text_cfg": {"no_causal_mask": True}}, "not causal with pooling at EOS"),
        ({"init_logit_bias": -10.0}, "sigmoid"),
    ],
)
def test_towers_without_the_needed_places_are_refused(change, message):
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1, "head_width": 32},
        "text_cfg": {"vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    }
    for key, value in change.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    with pytest.raises(UserError, match=message):
        Clip(open_clip.CLIP(**config), "other:random", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    with pytest.raises(UserError, match="got Linear"):
        Clip(torch.nn.Linear(2, 2), "other:random", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


# What is read


class Halved(BlockAdapter):
    """Token by token: half of what a block adds; keeps how many tokens it was given."""

    by_token = True

    def attention(self, delta, normed, x, block):
        assert delta.shape == normed.shape == x.shape
        return delta / 2

    def mlp(self, delta, normed, x, block):
        assert delta.shape == normed.shape == x.shape
        self.length = x.shape[1]
        return delta / 2


@pytest.mark.parametrize("adapted", [False, True])
def test_what_is_not_read_is_not_computed_and_changes_nothing(clip, adapted):
    tower = clip.copy_image_tower().double()
    image, prompts = images(clip, 3).double(), draw(5, 2, clip.visual_width).double().requires_grad_()
    # The same adapter twice, once given all tokens.
    given, whole = ([Halved() if adapted else None for _ in range(clip.visual_layers)] for _ in range(2))
    for each in filter(None, whole):
        each.by_token = False
    weights = [prompts, *tower.parameters()]
    ours = clip.encode_image(image, prompts, given, patches=False, tower=tower).class_token
    plain = clip.encode_image(image, prompts, whole, tower=tower).class_token
    torch.testing.assert_close(ours, plain, atol=1e-12, rtol=1e-12)
    pulled = draw(*ours.shape).double()
    for one, other in zip(
        torch.autograd.grad((ours * pulled).sum(), weights), torch.autograd.grad((plain * pulled).sum(), weights),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)
    if adapted:
        assert [each.length for each in given] == [1 + 64] * 5 + [1]
        assert [each.length for each in whole] == [1 + 64 + 2] * 5 + [1 + 64]


def test_the_last_block_computes_the_class_token_alone(clip):
    """All of its products but keys, values and their use are those of one token."""
    image, (tokens, width) = images(clip, 1), (1 + 64, clip.visual_width)
    with torch.no_grad():
        saved = flops.count(lambda: clip.encode_image(image)) - flops.count(
            lambda: clip.encode_image(image, patches=False)
        )
    projected = 2 * 64 * width * clip.embed_dim
    one_token = 2 * width * width * (1 + 1 + 8) + 2 * 2 * tokens * width  # query, output, MLP; scores and their use
    assert saved == projected + 64 * one_token


# Attention


@pytest.mark.parametrize("masked", [False, True])
def test_attention_and_its_gradients_are_those_of_open_clips_block(clip, masked):
    block = copy.deepcopy(clip.model.transformer.resblocks[0]).double().requires_grad_()
    normed = draw(3, 9, clip.text_width).double().requires_grad_()
    mask = clip.model.attn_mask[:9, :9] if masked else None
    weights = [normed, *block.attn.parameters()]
    ours, theirs = attend(block, normed, mask), block.attention(normed, attn_mask=mask)
    torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=0)
    pulled = draw(3, 9, clip.text_width).double()
    for one, other in zip(
        torch.autograd.grad((ours * pulled).sum(), weights), torch.autograd.grad((theirs * pulled).sum(), weights),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_another_attention_in_a_block_is_called(clip):
    block = copy.deepcopy(clip.model.visual.transformer.resblocks[0])
    normed = draw(2, 5, clip.visual_width)
    before = attend(block, normed)
    block.attn = SplitAttention(block.attn)
    torch.testing.assert_close(attend(block, normed), before)
    torch.testing.assert_close(attend(block, normed, read=2), before[:, :2])
    block.attn.out.weight.data.zero_()
    torch.testing.assert_close(attend(block, normed), block.attn.out.bias.expand(2, 5, -1))
