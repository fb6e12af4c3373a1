"""Attention by part of the face, use by class and correlations with units, against loops and closed forms."""

import numpy as np
import pytest
import torch

from fer_core import clip, inside
from fer_core.clip import BlockAdapter
from fer_core.errors import UserError
from fer_core.faces import PARSING
from fer_core.prompts import UnitPhrase


def test_even_attention_lies_on_each_part_by_its_area():
    parsing = torch.randint(0, 4, (3, 16, 16), dtype=torch.uint8)
    found = inside.by_part(torch.full((3, 4, 4), 0.5), parsing)
    assert set(found) == set(PARSING[:4])
    for place in range(4):
        share, times = found[PARSING[place]]
        assert share == pytest.approx((parsing == place).float().mean().item())
        assert times == pytest.approx(1.0)


@pytest.mark.parametrize("length", [0, 3])
def test_the_class_tokens_attention_is_a_softmax_of_its_query_and_all_keys(length):
    torch.manual_seed(0)
    tower = clip.load("embedded:random")
    image = torch.randn(2, 3, tower.image_size, tower.image_size)
    prompts = torch.randn(tower.visual_layers, length, tower.visual_width) if length else None
    stream = []

    class Keep(BlockAdapter):
        def before(self, x, block):
            stream.append((x, block))
            return x

    tower.encode_image(image, prompts, [None] * (tower.visual_layers - 1) + [Keep()])
    ((x, block),) = stream
    heads, width = block.attn.num_heads, tower.visual_width
    joint = block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    query, key = (
        joint[..., at : at + width].unflatten(-1, (heads, -1)) for at in (0, width)
    )  # (B, L, heads, W / heads)
    expected = torch.stack(
        [
            (query[:, 0, head, None] @ key[:, :, head].mT / (width / heads) ** 0.5).softmax(-1)[:, 0]
            for head in range(heads)
        ]
    ).mean(0)  # (B, L)
    rows, columns = tower.patch_grid
    seen, prompted = inside.class_attention(tower, image, prompts)
    torch.testing.assert_close(seen.flatten(1), expected[:, 1 : 1 + rows * columns])
    torch.testing.assert_close(prompted, expected[:, 1 + rows * columns :].sum(1))
    assert (prompted > 0).all() == bool(length)


def test_attention_is_counted_patch_by_patch():
    random = torch.Generator().manual_seed(0)
    weights = torch.rand(2, 2, 2, generator=random)
    parsing = torch.randint(0, 3, (2, 8, 8), generator=random, dtype=torch.uint8)
    share = torch.zeros(3, dtype=torch.float64)
    for face in range(2):
        for row in range(2):
            for column in range(2):
                patch = parsing[face, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                for part in range(3):
                    own = (weights[face, row, column] / weights[face].sum()).double()
                    share[part] += own * (patch == part).double().mean() / 2
    found = inside.by_part(weights, parsing)
    for part in range(3):
        area = (parsing == part).double().mean()
        assert found[PARSING[part]][0] == pytest.approx(float(share[part]), rel=1e-5)
        assert found[PARSING[part]][1] == pytest.approx(float(share[part] / area), rel=1e-5)


def test_shares_of_each_face_are_those_of_that_face_alone():
    random = torch.Generator().manual_seed(1)
    weights = torch.rand(3, 2, 2, generator=random)
    parsing = torch.randint(0, 3, (3, 8, 8), generator=random, dtype=torch.uint8)
    on, area = inside.on_parts(weights, parsing)
    torch.testing.assert_close(on.sum(1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(area.sum(1), torch.ones(3, dtype=torch.float64))
    for face in range(3):
        alone = inside.by_part(weights[face : face + 1], parsing[face : face + 1])
        assert on[face, 1] == pytest.approx(alone[PARSING[1]][0])


def test_a_face_without_attention_is_refused():
    with pytest.raises(UserError, match="expected some attention on each face"):
        inside.by_part(torch.zeros(1, 2, 2), torch.zeros(1, 4, 4, dtype=torch.uint8))


def test_shares_between_classes():
    labels = np.repeat([0, 1, 2], 40)
    apart = np.eye(3)[labels]
    assert inside.share_between(apart, labels, 3) == pytest.approx(1.0)
    noise = np.random.default_rng(0).normal(size=(120, 5))
    assert inside.share_between(noise, labels, 3) < 0.1
    assert inside.share_between(np.ones((120, 2)), labels, 3) == 0.0
    np.testing.assert_allclose(inside.by_class(apart, labels, 3), np.eye(3))


def test_correlations_are_pearsons_and_zero_where_nothing_varies():
    random = np.random.default_rng(0)
    values, units = random.normal(size=(50, 3)), random.normal(size=(50, 4))
    units[:, 2] = 0.3
    found = inside.correlations(values, units)
    for row in range(3):
        for column in (0, 1, 3):
            assert found[row, column] == pytest.approx(np.corrcoef(values[:, row], units[:, column])[0, 1])
    assert not found[:, 2].any()
    named = inside.strongest(found, ["a", "b", "c", "d"], most=2)
    for row, told in enumerate(named):
        assert [abs(value) for _, value in told] == sorted(np.abs(found[row]), reverse=True)[:2]
        assert told[0][0] == "abcd"[int(np.abs(found[row]).argmax())]


def test_likeness_is_held_against_the_strongest_frame_of_the_units_a_phrase_stands_for():
    phrases = [
        UnitPhrase("both sides", (12,), ("AU12L", "AU12R")), UnitPhrase("never rendered", (45,), ()),
        UnitPhrase("never shown", (9,), ("AU9",)),
    ]  # fmt: skip
    random = np.random.default_rng(0)
    units = random.random((30, 4, 3))
    units[:, :, 2] = 0.05
    shown = units[:, :, :2].max(axis=(1, 2))
    likeness = np.stack([2 * shown - 1, shown, shown], axis=1)
    found = inside.unit_correlations(likeness, units, phrases, ["AU12L", "AU12R", "AU9"])
    assert found == {"both sides": pytest.approx(1.0)}


def test_windows_cover_the_apex_by_the_frames_that_they_see():
    apex = np.array([[0.3, 0.7], [0.0, 0.2], [0.52, 0.53]])  # of ten frames: 3 to 6; 0 and 1; less than a frame, in 5
    assert inside.apex_cover(np.array([3, 3, 3]), 4, 10, apex).tolist() == [1.0, 0.0, 1.0]
    assert inside.apex_cover(np.array([5, 0, 6]), 4, 10, apex).tolist() == [0.5, 1.0, 0.0]
    several = inside.apex_cover(np.array([[3, 5], [3, 0], [3, 6]]), 4, 10, apex)
    assert several.tolist() == [[1.0, 0.5], [0.0, 1.0], [1.0, 0.0]]


def test_phases_lie_before_in_and_behind_the_apex():
    moments = (np.arange(4) + 0.5) / 4  # .125, .375, .625, .875
    found = inside.phases(np.array([[0.3, 0.7], [0.0, 0.2], [0.9, 1.0]]), moments)
    assert found.tolist() == [[0, 1, 1, 2], [1, 2, 2, 2], [0, 0, 0, 0]]


def test_attention_by_phase_is_a_mean_over_pairs_of_frames():
    phase = np.array([[0, 1, 1, 2], [0, 0, 1, 1]])
    even = inside.attention_by_phase(np.full((2, 4, 4), 0.25), phase)
    assert np.allclose(even[:2, :2], 1.0)
    assert np.isclose(even[2, 0], 1.0)
    weights = np.random.default_rng(0).dirichlet(np.ones(4), (2, 4))
    found = inside.attention_by_phase(weights, phase)
    for who in range(3):
        for whom in range(3):
            values = [
                weights[clip, one, other]
                for clip in range(2)
                for one in range(4)
                for other in range(4)
                if phase[clip, one] == who and phase[clip, other] == whom
            ]
            assert np.isclose(found[who, whom], 4 * np.mean(values))
    assert np.isnan(inside.attention_by_phase(weights, np.zeros((2, 4), int))[1, 1])
