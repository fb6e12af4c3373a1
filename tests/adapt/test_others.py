"""TENT, TPT, TDA and PromptAlign, each against its equations written out."""

from dataclasses import replace

import pytest
import torch

from fer_core import adapt, models
from fer_core.adapt.views import views_of
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy, marginal_entropy


def test_tent_predicts_before_its_step_and_changes_norms_alone(source, videos):
    method, batch = adapt.build("tent", source, {"lr": 0.05}), videos(pixels=True)
    before = {name: value.clone() for name, value in method.tower.state_dict().items()}
    said = method.adapt(adapt.unlabelled(batch))
    torch.testing.assert_close(said.logits, source(batch).logits.detach(), atol=1e-5, rtol=1e-4)
    changed = {name for name, value in method.tower.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("ln_" in name for name in changed)
    assert method.adapted_parameters == sum(before[name].numel() for name in before if "ln_" in name)


def test_tent_predicts_by_its_last_forward_pass(source, videos):
    batch = adapt.unlabelled(videos(pixels=True))
    one_by_one = adapt.build("tent", source, {"lr": 0.02})
    told = [one_by_one.adapt(batch).logits for _ in range(3)]
    at_once = adapt.build("tent", source, {"lr": 0.02, "steps": 3}).adapt(batch).logits
    torch.testing.assert_close(at_once, told[-1])
    assert not torch.allclose(at_once, told[0])


def test_tent_gives_its_source_the_patches_that_it_needs(tower, videos):
    source = models.build("les-clip", tower, ("neutral", "pain"), {"experts": "none"})
    batch = adapt.unlabelled(videos(pixels=True))
    assert source.needs_patches
    assert source.frozen_image_tower
    assert adapt.build("tent", source, {}).adapt(batch).logits.shape == (len(batch.label), 2)


def test_tent_lowers_the_entropy(source, videos):
    method, batch = adapt.build("tent", source, {"lr": 0.02}), adapt.unlabelled(videos(pixels=True))
    told = [entropy(method.adapt(batch).logits).mean() for _ in range(8)]
    assert told[-1] < told[0]


@pytest.mark.parametrize("classes", [("neutral", "pain"), ("neutral", "pain", "stress")])
def test_tda_equals_its_equations(classes, make_source, videos):
    source = make_source(classes)
    settings = {"positive_shots": 2, "negative_shots": 2, "entropy_range": [0.05, 1.0], "likely": 0.45}
    batch = videos(9)
    said = adapt.build("tda", source, settings).adapt(adapt.unlabelled(batch)).logits
    output = source(batch)
    positive, negative = {}, {}
    for number, (feature, logits) in enumerate(zip(output.features, output.logits, strict=True)):
        told = logits.softmax(0)
        share = float(-(told * told.log()).sum() / torch.log(torch.tensor(float(len(classes)))))
        label = int(told.argmax())
        positive[label] = sorted([*positive.get(label, []), (share, number)])[:2]
        if 0.05 < share < 1.0:
            negative[label] = sorted([*negative.get(label, []), (share, number)])[:2]
        expected = logits.clone()
        for own, members in positive.items():
            for _, other in members:
                expected[own] += 2.0 * torch.exp(-5.0 * (1 - feature @ output.features[other]))
        for members in negative.values():
            for _, other in members:
                marked = (output.logits[other].softmax(0) > 0.45).float()
                expected -= 0.117 * torch.exp(-1.0 * (1 - feature @ output.features[other])) * marked
        torch.testing.assert_close(said[number], expected.detach(), atol=1e-5, rtol=1e-4)


def test_tda_sees_pixels_where_the_sources_tower_is_trained(tower, source, videos):
    trained = models.build("full-fine-tuning", tower, ("neutral", "pain"))
    method = adapt.build("tda", trained)
    assert (method.pixels, adapt.build("tda", source).pixels) == (True, False)
    assert method.adapt(adapt.unlabelled(videos(3, pixels=method.pixels))).logits.shape == (3, 2)


def test_tda_without_caches_is_the_source(source, videos):
    batch = videos()
    said = adapt.build("tda", source, {"positive_shots": 0, "negative_shots": 0}).adapt(adapt.unlabelled(batch))
    torch.testing.assert_close(said.logits, source(batch).logits.detach())


def test_views_are_crops_and_the_first_is_the_video_itself():
    drawn = torch.Generator().manual_seed(0)
    ramp = torch.linspace(-1, 1, 16).expand(3, 4, 3, 16, 16).clone()  # brightness is the column
    found = views_of(ramp, 5, 0.5, 0, drawn)
    assert found.shape == (3, 5, 4, 3, 16, 16)
    torch.testing.assert_close(found[:, 0], ramp)
    assert torch.equal(found[:, :, :1].expand_as(found), found), "all frames of a view are cropped alike"
    slope = (found[:, 1:, 0, 0, 0, 12] - found[:, 1:, 0, 0, 0, 3]) / (ramp[0, 0, 0, 0, 12] - ramp[0, 0, 0, 0, 3])
    assert (slope.abs() <= 1.0 + 1e-5).all()
    assert (slope.abs() >= 0.5 - 1e-5).all()
    assert {-1.0, 1.0} == set(slope.sign().flatten().tolist())
    middle = found[:, 1:, 0, 0, 0, 7:9].mean(-1) * 15 / 16  # where a crop's middle lies in a frame of -1 to 1
    assert (middle.abs() <= 1 - slope.abs() + 1e-5).all()
    assert middle.std() > 0.1
    assert {-1.0, 1.0} == set(middle.sign().flatten().tolist())


def test_views_may_be_runs_of_frames():
    moments = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 3, 8, 8).clone()
    found = views_of(moments, 20, 1.0, 4, torch.Generator().manual_seed(0))[0, :, :, 0, 4, 4]
    assert found[0].tolist() == [1, 2, 3, 4]
    assert {tuple(run.round().long().tolist()) for run in found} == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}


@pytest.mark.parametrize("steps", [1, 4])
def test_tpt_equals_its_equations(steps, source, videos):
    settings = {"views": 6, "selected": 0.5, "steps": steps, "lr": 0.01}
    batch = adapt.unlabelled(videos(1, pixels=True))
    method, again = (adapt.build("tpt", source, settings) for _ in range(2))
    said = method.adapt(batch)
    with torch.no_grad():
        views = views_of(batch.image, 6, again.config.least_crop, 0, torch.Generator().manual_seed(0))[0]
        video = source.video(source.clip.encode_image(views).class_token)
    context = again.prompts.first.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([context], lr=0.01, weight_decay=0.0)
    best = None
    for _ in range(steps):
        told = source.classify(video, source.units(again.prompts.texts(context))).softmax(1)
        if best is None:  # the views are chosen once, as in the authors' code
            best = (-(told * told.log()).sum(1)).argsort()[:3]
        mean = told[best].mean(0)
        optimizer.zero_grad()
        (-(mean * mean.log()).sum()).backward()
        optimizer.step()
    expected = source.classify(video[:1], source.units(again.prompts.texts(context)))
    torch.testing.assert_close(said.logits, expected.detach(), atol=1e-5, rtol=1e-4)


def test_tpt_on_runs_of_frames_classifies_the_whole_video(source, videos):
    batch = adapt.unlabelled(videos(1, pixels=True))
    method = adapt.build("tpt", source, {"views": 4, "window": 3})
    said = method.adapt(batch)
    with torch.no_grad():
        whole = source.video(source.clip.encode_image(batch.image).class_token)
        torch.testing.assert_close(said.features, whole)
        torch.testing.assert_close(said.logits, source.classify(whole, method.prompts.units()))
    with pytest.raises(UserError, match="window: expected at least 0, got -1"):
        adapt.build("tpt", source, {"window": -1})


def test_prompt_align_equals_its_equations(source, videos):
    training, batch = [videos(6, seed=5), videos(4, seed=6)], videos()
    method = adapt.build("prompt-align", source, {"steps": 1, "beta": 2.0, "lr": 0.01})
    method.remember(adapt.unlabelled(each) for each in training)
    said = method.adapt(adapt.unlabelled(batch))
    everything = torch.cat([each.features.class_token for each in training])
    known = source.likeness(source.video(everything), source.units()).detach()
    context = method.prompts.first.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([context], lr=0.01, weight_decay=0.0)
    video = source.video(batch.features.class_token).detach()
    units = source.units(method.prompts.texts(context))
    own = source.likeness(video, units)
    apart = (own.mean(0) - known.mean(0)).abs().mean()
    apart = apart + (own.var(0, correction=0) - known.var(0, correction=0)).abs().mean()
    (entropy(source.classify(video, units)).mean() + 2.0 * apart).backward()
    optimizer.step()
    torch.testing.assert_close(method.prompts.context, context, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(
        said.logits, source.classify(video, source.units(method.prompts.texts(context))).detach()
    )


def test_prompt_align_needs_the_sources_statistics(source, videos):
    with pytest.raises(RuntimeError, match="remember"):
        adapt.build("prompt-align", source).adapt(adapt.unlabelled(videos()))


def test_entropies_of_known_predictions():
    even = torch.zeros(3, 4)
    torch.testing.assert_close(entropy(even), torch.full((3,), 4.0).log())
    assert entropy(torch.tensor([[50.0, 0.0]])).item() == pytest.approx(0.0, abs=1e-12)
    told = torch.tensor([0.2, 0.8])
    torch.testing.assert_close(entropy(told.log()), -(told * told.log()).sum())
    # Two views, each sure of another class, leave the mean undecided; two that agree do not.
    torch.testing.assert_close(
        marginal_entropy(torch.tensor([[20.0, -20.0], [-20.0, 20.0]])), torch.tensor(2.0).log(), atol=1e-5, rtol=0
    )
    assert marginal_entropy(torch.tensor([[20.0, -20.0], [20.0, -20.0]])).item() == pytest.approx(0, abs=1e-6)
    logits = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(marginal_entropy, logits)
    assert torch.autograd.gradcheck(entropy, logits)


def test_half_precision_keeps_small_entropies():
    sure = torch.tensor([[9.0, 0.0]], dtype=torch.bfloat16)
    assert entropy(sure).dtype == torch.float32
    torch.testing.assert_close(entropy(sure), entropy(sure.double()).float())


def test_a_batch_keeps_its_pixels_for_those_that_need_them(source, videos):
    assert adapt.get("tent").pixels
    assert adapt.get("tpt").pixels
    batch = adapt.unlabelled(videos(pixels=True))
    assert replace(batch).image.shape == (5, 7, 3, 32, 32)
