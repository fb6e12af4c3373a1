"""What holds for every method; what is particular to one stands in its own file."""

import copy
import dataclasses

import pytest
import tiny
import torch

from fer_core import models
from fer_core.batch import ImageFeatures
from fer_core.errors import UserError

# What a method trains, by the names of its parameters; a method that is not listed here fails its tests.
DECLARED = {
    "zero-shot": set(),
    "majority": set(),
    "linear-probe": {"head"},
    "coop": {"context"},
    "full-fine-tuning": {"tower", "prototypes"},
    "clip-adapter": {"adapter"},
    "tip-adapter": {"keys"},
    "cocoop": {"context", "meta"},
    "maple": {"text_prompts", "coupling"},
    "promptsrc": {"text_prompts", "visual_prompts"},
    "clip-au": {"adapter", "temporal", "classifier"},
    "fine-cliper": {"adapters", "fusion", "log_scale"},
    "lora": {"tower", "prototypes"},
    "les-clip": {"blocks", "discrimination"},
    "mpa-fer": {"context", "visual_prompts"},
    "aim": {"adapters", "prototypes"},
    "st-adapter": {"adapters", "prototypes"},
    "dfer-clip": {"context", "temporal", "tower"},
    "emo-clip": {"temporal", "tower"},
}
NAMES = tuple(DECLARED)
TIMED = ("clip-au", "fine-cliper", "aim", "st-adapter", "dfer-clip", "emo-clip")  # with a model of time
STILL = tuple(name for name in NAMES if name not in TIMED)
TRAINED = tuple(name for name, declared in DECLARED.items() if declared)


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def unchanged(before, module):
    return all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def train_step(method, batch, lr=0.01):
    groups = method.parameter_groups(lr=lr, weight_decay=0.1)
    losses = method.losses(batch, method(batch))
    losses["loss"].backward()
    torch.optim.AdamW(groups).step()
    return losses


def test_every_method_is_registered_and_has_its_declaration():
    assert set(NAMES) == set(models.names())
    assert [models.get(name).name for name in models.names()] == list(models.names())


@pytest.mark.parametrize("name", NAMES)
def test_output_has_logits_and_normalised_features(name, tiny_clip, classes, make_batch):
    method = models.build(name, tiny_clip, classes)
    for batch in (make_batch(6), make_batch(2, frames=3)):
        output = method(batch)
        assert output.logits.shape == (len(batch), len(classes))
        assert output.logits.dtype == torch.float32
        torch.testing.assert_close(output.features.norm(dim=-1), torch.ones(len(batch)))
        losses = method.losses(batch, output)
        assert losses["loss"].ndim == 0
        assert losses["loss"].isfinite()


@pytest.mark.parametrize("name", STILL)
def test_a_clip_of_equal_frames_is_its_still(name, tiny_clip, classes, make_batch):
    method = models.build(name, tiny_clip, classes).double()
    still = make_batch(4)
    still.image = still.image.double()
    clip = copy.copy(still)
    clip.image = still.image[:, None].expand(-1, 3, -1, -1, -1)
    torch.testing.assert_close(method(clip).logits, method(still).logits)


@pytest.mark.parametrize("name", NAMES)
def test_only_declared_parameters_get_gradients_and_the_clip_stays_bit_identical(name, tiny_clip, classes, make_batch):
    method = models.build(name, tiny_clip, classes, tiny.SETTINGS.get(name))
    before, own = state(tiny_clip), {name: p.clone() for name, p in method.named_parameters() if p.requires_grad}
    assert {parameter.partition(".")[0] for parameter in own} == DECLARED[name]
    if own:
        method.train()
        method.prepare([make_batch()])
        for lr in (0.01, 0.012, 0.015):  # what starts at zero lets nothing through in the first step
            train_step(method, make_batch(), lr)
        for parameter_name, parameter in method.named_parameters():
            declared = parameter_name.partition(".")[0] in DECLARED[name]
            assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
            assert declared or not parameter.requires_grad, parameter_name
            if parameter.requires_grad:
                assert not torch.equal(parameter, own[parameter_name]), f"{parameter_name} did not move"
    assert unchanged(before, tiny_clip)


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_falls_on_a_small_set(name, tiny_clip, classes, make_batch):
    torch.manual_seed(0)
    method, batch = models.build(name, tiny_clip, classes, tiny.SETTINGS.get(name)).train(), make_batch()
    method.prepare([batch])
    optimizer = torch.optim.Adam(method.parameter_groups(lr=0.002 if name == "clip-au" else 0.02, weight_decay=0.0))
    first = method.losses(batch, method(batch))["loss"].item()
    for _ in range(40):
        optimizer.zero_grad()
        loss = method.losses(batch, method(batch))["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9 * first


@pytest.mark.parametrize("name", NAMES)
def test_frozen_towers_stay_in_evaluation_mode(name, tiny_clip, classes):
    method = models.build(name, tiny_clip, classes).train()
    assert method.training
    assert not any(module.training for module in tiny_clip.modules())
    trained = [module for module in method.modules() if any(p.requires_grad for p in module.parameters(recurse=False))]
    assert all(module.training for module in trained)


@pytest.mark.parametrize("name", NAMES)
def test_cached_features_give_the_same_logits(name, tiny_clip, classes, make_batch):
    method = models.build(name, tiny_clip, classes)
    if not method.frozen_image_tower:
        # Features of the frozen tower are none of this method's: it must look at the pixels.
        batch = make_batch()
        expected = method(batch).logits
        batch.features = ImageFeatures(torch.zeros(6, 24))
        torch.testing.assert_close(method(batch).logits, expected)
        return
    for batch in (make_batch(6), make_batch(2, frames=3)):
        expected = method(batch)
        batch.features = tiny_clip.encode_image(batch.image, patches=False)
        batch.image = torch.full_like(batch.image, torch.nan)
        found = method(batch)
        torch.testing.assert_close(found.logits, expected.logits)
        torch.testing.assert_close(found.features, expected.features)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "emo-clip"])  # which sees no label
def test_votes_and_label_smoothing_change_the_loss(name, tiny_clip, classes, make_batch):
    batch, torch_seed = make_batch(), 3
    losses = []
    for settings in ({}, {"votes": True}, {"label_smoothing": 0.2}):
        torch.manual_seed(torch_seed)
        method = models.build(name, tiny_clip, classes, settings)
        method.prepare([batch])
        # Moved off its start, where a linear probe's logits are all zero and every target costs the same.
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        losses.append(method.losses(batch, method(batch))["loss"].item())
    assert len(set(losses)) == 3
    batch.votes = None
    voting = models.build(name, tiny_clip, classes, {"votes": True})
    with pytest.raises(UserError, match=r"set model\.votes=false"):
        voting.losses(batch, voting(batch))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_keeps_fp32_logits_close(name, tiny_clip, classes, make_batch):
    torch.manual_seed(0)
    method, batch = models.build(name, tiny_clip, classes), make_batch()
    expected = method(batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = method(batch)
    assert found.logits.dtype == found.features.dtype == torch.float32
    torch.testing.assert_close(found.features, expected.features, atol=0.03, rtol=0)
    # A cosine may be off by what bf16 does to its two features, no more.
    torch.testing.assert_close(found.logits, expected.logits, atol=0.03 * tiny_clip.logit_scale, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_configs_are_frozen_and_every_field_is_documented(name):
    config = models.get(name).Config
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen
    documented = " ".join(base.__doc__ for base in config.__mro__ if base is not object)
    assert all(f"{field.name}:" in documented for field in dataclasses.fields(config))


# What makes a method ask by texts alone, where its defaults do not.
BY_TEXTS = {
    "zero-shot": {}, "coop": {}, "cocoop": {}, "maple": {}, "promptsrc": {}, "clip-adapter": {}, "fine-cliper": {},
    "emo-clip": {}, "mpa-fer": {"class_specific": False}, "dfer-clip": {"class_specific": False},
    "lora": {"head": "text"}, "full-fine-tuning": {"head": "text"},
}  # fmt: skip
OTHERS = ("fear", "happiness", "contempt", "sadness", "anger")


@pytest.mark.parametrize(("name", "settings"), BY_TEXTS.items())
def test_what_was_learned_can_be_asked_of_other_classes(name, settings, tiny_clip, classes, make_batch):
    torch.manual_seed(0)
    method, batch = models.build(name, tiny_clip, classes, settings), make_batch()
    for parameter in method.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    method.end_epoch(1, 2)  # PromptSRC gathers its prompts
    method.eval()
    assert method.for_classes(classes) is method
    asked = method.for_classes(OTHERS)
    assert asked.classes == OTHERS
    here, there = method(batch), asked(batch)
    assert there.logits.shape == (len(batch), 5)
    # Classes that both have are asked in the same words.
    torch.testing.assert_close(there.logits[:, [1, 4]], here.logits[:, [1, 3]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", [OTHERS, ("fear", "happiness", "disgust", "anger")], ids=["five", "as many"])
def test_what_was_learned_of_each_class_cannot(name, asked, tiny_clip, classes):
    method = models.build(name, tiny_clip, classes)
    assert method.asks_by_texts == (BY_TEXTS.get(name) == {})
    if not method.asks_by_texts:
        with pytest.raises(UserError, match=f"{name}: expected the classes neutral, .* learns something of each class"):
            method.for_classes(asked)


def test_parameter_groups_decay_matrices_only(tiny_clip, classes):
    method = models.build("linear-probe", tiny_clip, classes)
    matrices, vectors = method.parameter_groups(lr=0.1, weight_decay=0.5)
    assert matrices["params"] == [method.head.weight]
    assert matrices["weight_decay"] == 0.5
    assert vectors["params"] == [method.head.bias]
    assert vectors["weight_decay"] == 0.0
    assert matrices["lr"] == vectors["lr"] == 0.1
    assert models.build("zero-shot", tiny_clip, classes).parameter_groups(lr=0.1, weight_decay=0.5) == []
    fine_tuned = models.build("full-fine-tuning", tiny_clip, classes)
    counted = sum(p.numel() for group in fine_tuned.parameter_groups(0.1, 0.1) for p in group["params"])
    assert counted == sum(p.numel() for p in tiny_clip.model.visual.parameters()) + 4 * 24


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("zero-shoot", {}, "unknown method 'zero-shoot'; did you mean 'zero-shot'"),
        (
            "coop",
            {"context_lenght": 4},
            "unknown setting of model of coop 'context_lenght'; did you mean 'context_length'",
        ),
        ("coop", {"context_length": 0}, "context_length of at least 1, got 0"),
        ("coop", {"context_length": 100}, "at most 77 tokens"),
        ("coop", {"context_init": "a photo of a"}, "got 4 in 'a photo of a'; set context_length=4"),
        ("coop", {"label_smoothing": 1.5}, "label_smoothing in"),
        ("coop", {"words": "verb"}, "unknown value of model of coop.words"),
        ("zero-shot", {"templates": "ensembl"}, "did you mean 'ensemble'"),
        ("linear-probe", {"logit_scale": -1.0}, "positive logit_scale, got -1.0"),
        ("full-fine-tuning", {"head": "mlp"}, "unknown value of model of full-fine-tuning.head"),
    ],
)
def test_settings_that_do_not_fit(name, settings, message, tiny_clip, classes, make_batch):
    with pytest.raises(UserError, match=message):
        models.build(name, tiny_clip, classes, settings)(make_batch())


def test_classes_that_do_not_fit(tiny_clip):
    with pytest.raises(UserError, match="did you mean 'anger'"):
        models.build("zero-shot", tiny_clip, ("neutral", "angr"))
    with pytest.raises(UserError, match="at least two classes, each once"):
        models.build("linear-probe", tiny_clip, ("neutral", "neutral"))


def test_a_config_of_another_method_is_a_fault_of_the_caller(tiny_clip, classes):
    with pytest.raises(TypeError, match="expected a PromptConfig"):
        models.ZeroShot(tiny_clip, classes, models.CoOp.Config())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("zero-shot", {}), ("coop", {}), ("promptsrc", {}), ("dfer-clip", {}), ("emo-clip", {}),
        ("full-fine-tuning", {"head": "text"}), ("lora", {"head": "text"}),
    ],
)  # fmt: skip
def test_class_texts_are_what_features_are_compared_with(name, settings, tiny_clip, classes, make_batch):
    method, batch = models.build(name, tiny_clip, classes, settings).eval(), make_batch(3)
    with torch.no_grad():
        said, texts = method(batch), method.class_texts()
    assert texts.norm(dim=1) == pytest.approx(torch.ones(len(classes)), abs=1e-5)
    torch.testing.assert_close(said.logits, tiny_clip.logit_scale * said.features @ texts.T, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["linear-probe", "full-fine-tuning", "lora"])
def test_trained_classifiers_are_no_texts(name, tiny_clip, classes):
    assert models.build(name, tiny_clip, classes, {}).class_texts() is None


def test_the_order_of_classes_counts(tiny_clip, classes, make_batch):
    method, batch = models.build("zero-shot", tiny_clip, classes), make_batch()
    asked = method.for_classes(classes[::-1])
    assert asked.classes == classes[::-1]
    torch.testing.assert_close(asked(batch).logits, method(batch).logits.flip(1))
