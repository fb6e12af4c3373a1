"""What tables say of methods is what the methods are."""

import re

import pytest
import torch
from tiny import tiny_clip

from fer_core import adapt, method_facts, models
from fer_core.experiments import measuring


@pytest.fixture(scope="module")
def tower():
    return tiny_clip()


@pytest.fixture(scope="module")
def found(tower):
    return {each.name: each for each in method_facts.collect(tower)}


def test_every_method_is_there_with_a_source(found):
    assert tuple(found) == (*models.names(), *adapt.names())
    assert {name for name, each in found.items() if not each.source} == {"full-fine-tuning", "majority"}
    for name, each in found.items():
        assert not each.source or re.fullmatch(r"[A-Z][\w-]+( et al\.| and [A-Z]\w+)? 20\d\d", each.source), name
        assert each.title
        assert not each.title.endswith(".")
        assert each.inputs


def test_known_kinds(found):
    assert found["zero-shot"].inputs == ("stills", "clips", "subjects")
    assert found["les-clip"].inputs == ("stills",)
    assert found["fine-cliper"].inputs == ("clips",)
    assert found["clip-autt"].inputs == ("subjects",)


def test_trained_numbers_are_closed_forms(found, tower):
    width, classes = tower.embed_dim, len(method_facts.CLASSES)
    assert found["zero-shot"].trained == found["majority"].trained == 0
    assert found["linear-probe"].trained == classes * (width + 1)
    assert found["coop"].trained == 16 * tower.text_width
    assert found["clip-autt"].trained == 46 * 4 * tower.text_width


@pytest.mark.parametrize("name", ["zero-shot", "coop", "les-clip", "tip-adapter", "dfer-clip", "fine-cliper"])
def test_operations_are_those_of_real_tensors(name, tower):
    (told,) = method_facts.collect(tower, names=[name])
    sample = method_facts._sample(tower, None if "stills" in told.inputs else 16)
    torch.manual_seed(0)
    sample.image = torch.rand_like(sample.image)
    assert told.operations == measuring.flops(models.build(name, tower, method_facts.CLASSES), sample)


def test_a_clip_costs_as_many_stills(found):
    ratio = found["st-adapter"].operations / found["zero-shot"].operations
    assert ratio > 16
    assert all(found[name].operations is None for name in adapt.names())
