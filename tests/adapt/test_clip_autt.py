"""CLIP-AUTT: windows against loops, the size that was published, what is tuned, and both forms of its texts."""

import pytest
import torch

from fer_core import adapt, models, prompts
from fer_core import clip as clips
from fer_core.adapt.clip_autt import windows_of
from fer_core.adapt.unit_prompts import sentences
from fer_core.losses.entropy import entropy


def built(source, **settings):
    return adapt.build("clip-autt", source, {"window": 4, "steps": 3, **settings})


def windows_by_hand(source, frames, size):
    """Features of all windows, one window after another."""
    return torch.stack(
        [
            torch.stack([source.video(video[None, at : at + size])[0] for at in range(len(video) - size + 1)])
            for video in frames
        ]
    )


def test_adapted_numbers_with_vit_b_32_are_the_published_ones():
    tower = clips.load("ViT-B-32-quickgelu:random")
    source = models.build("clip-au", tower, ("neutral", "pain"))
    assert adapt.build("clip-autt", source).adapted_parameters == 94_208


@pytest.mark.parametrize("size", [1, 4, 7, 16, 0])
def test_windows_are_all_runs_of_frames(size):
    frames = torch.arange(2 * 7 * 3.0).view(2, 7, 3)
    width = min(size or 7, 7)
    expected = torch.stack([frames[:, at : at + width] for at in range(7 - width + 1)], 1)
    assert torch.equal(windows_of(frames, size), expected)


@torch.no_grad()
def test_scores_of_all_windows_in_one_batch_equal_a_loop(source, videos):
    method, batch = built(source), videos()
    frames = batch.features.class_token
    seen = windows_by_hand(source, frames, 4)
    units = method.prompts.units()
    found = method.window_entropies(seen, units)
    for number in range(len(batch)):
        for at in range(4):
            video = source.video(frames[number : number + 1, at : at + 4])
            logits = source.classifier(video @ units.T)
            torch.testing.assert_close(found[number, at], entropy(logits)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_chosen_window_has_the_lowest_entropy(scaled, source, videos):
    method, batch = built(source, steps=0, scaled=scaled), videos(8, frames=9)
    said = method.adapt(adapt.unlabelled(batch))
    with torch.no_grad():
        seen = windows_by_hand(source, batch.features.class_token, 4)
        found = method.window_entropies(seen, method.prompts.units())
    assert torch.equal(said.windows, found.argmin(1))
    assert len(set(said.windows.tolist())) > 1
    chosen = seen[torch.arange(8), said.windows]
    torch.testing.assert_close(said.features, chosen)
    torch.testing.assert_close(said.logits, source.classify(chosen, method.prompts.units()).detach())


def test_one_step_is_a_step_of_adamw_on_the_mean_entropy(source, videos):
    method, batch = built(source, steps=1), videos()
    said = method.adapt(adapt.unlabelled(batch))
    again = built(source, steps=1)
    context = again.prompts.first.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([context], lr=1e-3, weight_decay=1e-4)
    units = source.units(again.prompts.texts(context))
    seen = windows_by_hand(source, batch.features.class_token, 4).detach()
    chosen = seen[torch.arange(5), again.window_entropies(seen, units).argmin(1)]
    first = source.classify(chosen, units)
    entropy(first).mean().backward()
    optimizer.step()
    torch.testing.assert_close(method.prompts.context, context, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(said.passes[0], first.detach(), atol=1e-5, rtol=1e-4)


def test_entropy_falls_over_the_passes(source, videos):
    said = built(source, steps=20, lr=0.02, window=0).adapt(adapt.unlabelled(videos(12)))
    told = entropy(said.passes).mean(1)
    assert told[-1] < 0.9 * told[0]
    assert len(said.passes) == 21


def test_without_steps_and_windows_it_is_clip_au_with_other_texts(source, videos):
    method, batch = built(source, steps=0, window=0), videos()
    said = method.adapt(adapt.unlabelled(batch))
    expected = source.classify(source.video(source.frames(batch)), method.prompts.units())
    torch.testing.assert_close(said.logits, expected.detach())


def test_soft_choice_weighs_windows_and_several_keeps_the_surest(source, videos):
    batch = videos()
    with torch.no_grad():
        seen = windows_by_hand(source, batch.features.class_token, 4)
        hard = built(source)
        units = hard.prompts.units()
        unsure = hard.window_entropies(seen, units)
        soft = built(source, choice="soft", temperature=0.5).window_weights(seen, units)
        torch.testing.assert_close(soft, torch.softmax(-unsure / 0.5, 1))
        several = built(source, choice="several", kept=2).window_weights(seen, units)
        assert (several > 0).sum(1).tolist() == [2] * 5
        torch.testing.assert_close(several.sum(1), torch.ones(5))
        assert ((several > 0) == (unsure <= unsure.sort(1).values[:, 1:2])).all()
        # At a temperature near zero the soft choice is the hard one.
        sharp = built(source, choice="soft", temperature=1e-6, steps=0).adapt(adapt.unlabelled(batch))
        plain = built(source, steps=0).adapt(adapt.unlabelled(batch))
    torch.testing.assert_close(sharp.logits, plain.logits)


@pytest.mark.parametrize("settings", [{"choice": "soft", "temperature": 0.5}, {"choice": "several", "kept": 2}])
def test_what_several_windows_say_is_weighed(settings, source, videos):
    batch, method = videos(), built(source, steps=0, **settings)
    with torch.no_grad():
        seen, units = windows_by_hand(source, batch.features.class_token, 4), method.prompts.units()
        weights = method.window_weights(seen, units)
        expected = torch.stack([
            sum(weight * own for weight, own in zip(each, source.classify(windows, units), strict=True))
            for each, windows in zip(weights, seen, strict=True)
        ])  # fmt: skip
    torch.testing.assert_close(method.adapt(adapt.unlabelled(batch)).logits, expected)


def test_texts_that_end_are_not_ended_again():
    assert sentences(["inner brow raiser", "a photo of a face in pain."]) == [
        "inner brow raiser.", "a photo of a face in pain.",
    ]  # fmt: skip


def test_the_units_words_are_in_the_sequence_and_in_the_released_form_are_not(source):
    ours, released = built(source), built(source, released=True)
    phrases = [unit.phrase for unit in prompts.action_units()]
    for method, has_words in ((ours, True), (released, False)):
        tokens = method.prompts.words.with_context(method.prompts.context)
        words = source.clip.tokens([f"{phrase}." for phrase in phrases])
        assert torch.equal(tokens.eos, words.eos + 4)
        assert torch.equal(tokens.embedding[:, 0], words.embedding[:, 0])
        after = tokens.embedding[0, 5 : words.eos[0] + 5]
        assert torch.equal(after, words.embedding[0, 1 : words.eos[0] + 1]) == has_words
    assert torch.equal(released.prompts.first[0], released.prompts.first[45])
    assert not torch.equal(ours.prompts.first[0], ours.prompts.first[45])
    padding = source.clip.model.token_embedding.weight[0]
    tokens = released.prompts.words.embedding
    assert torch.equal(tokens[3, 1], padding)
    assert not tokens[:, 2:].any()


def test_the_released_form_reads_where_the_bare_phrase_ends(source):
    prompts_of = built(source, released=True).prompts
    clip, (first, *_) = source.clip, prompts_of.context.detach()
    phrase = prompts.action_units()[0].phrase
    end = clip.tokens([f"{phrase}."]).shortest  # of the phrase alone, as if no context stood before it
    sequence = torch.zeros(77, clip.text_width)
    table = clip.model.token_embedding.weight
    sequence[0], sequence[1:5], sequence[5] = table[49406], first, table[0]
    x = (sequence + clip.model.positional_embedding)[None]
    for block in clip.model.transformer.resblocks:
        x = block(x, attn_mask=clip.model.attn_mask)
    expected = clip.model.ln_final(x)[0, end] @ clip.model.text_projection
    torch.testing.assert_close(prompts_of.texts()[0], expected, atol=1e-5, rtol=1e-4)


def test_the_released_form_normalises_its_texts_and_forgets_its_moments(source, videos):
    method = built(source, released=True)
    texts = method.prompts.texts().detach()
    expected = source.units(texts / texts.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(method.prompts.units(), expected)
    for _ in method.passes(adapt.unlabelled(videos())):
        steps = [state["step"].item() for state in method.optimizer.state.values()]
        assert steps in ([], [1.0])
    ours = built(source)
    torch.testing.assert_close(ours.prompts.units(), source.units(ours.prompts.texts()))
    list(ours.passes(adapt.unlabelled(videos())))
    assert [state["step"].item() for state in ours.optimizer.state.values()] == [3.0]


def test_contexts_may_start_from_words(source):
    method = built(source, start="words")
    tokens = source.clip.tokens(["a photo of a face with"]).embedding[0, 1:5]
    assert torch.equal(method.prompts.first[7], tokens)
