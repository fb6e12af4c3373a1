"""The texts themselves: complete, short enough for CLIP, and true to the action units that they name."""

from importlib.resources import files

import open_clip
import pytest
import snowballstemmer
import torch
import yaml

from fer_core import config, data, prompts
from fer_core.data import layout
from fer_core.errors import UserError
from fer_core.faces import ACTION_UNITS, CODES, expressions, sets
from fer_core.faces.action_units import BILATERAL

CLASSES = prompts.class_names()
CONTEXT_LENGTH = 77
stem = snowballstemmer.stemmer("english").stemWord


def read(name):
    """A file of texts, with what it says of them beside what methods are given."""
    return yaml.safe_load(files(prompts).joinpath(name).read_text(encoding="utf-8"))


def described_units(name):
    """Which words of a class's description stand for which action unit."""
    return read("descriptions.yaml")["classes"][name]["units"]


def test_every_set_of_templates_names_its_source():
    for texts in read("templates.yaml").values():
        assert len(texts["source"]) > 10


def lengths(texts):
    tokenizer = open_clip.SimpleTokenizer()
    return [len(tokenizer.encode(text)) + 2 for text in texts]  # start and end of text


def every_text(classes):
    """All texts that any method may ask for, by what they are."""
    found = {f"mpa-fer of granularity {level}": prompts.hard_prompts(classes, level) for level in (1, 2, 3)}
    found["positive"], found["negative"] = prompts.positive_negative(classes)
    found["description"] = prompts.class_descriptions(classes)
    for name in prompts.names():
        for words in ("noun", "adjective"):
            try:
                rows = prompts.texts(classes, name, words)
            except UserError:
                continue
            for place, column in enumerate(zip(*rows, strict=True)):
                found[f"{name} {words} {place}"] = column
    return found


def test_every_class_of_every_data_set_has_every_kind_of_text():
    assert len(data.names()) >= len(sets.SETS) + 1
    listed = [entry.classes for entry in layout.LAYOUTS.values()] + [entry.classes for entry in sets.SETS.values()]
    assert {name for classes in listed for name in classes} == set(CLASSES)
    for classes in {*listed, CLASSES}:
        for kind, texts in every_text(classes).items():
            assert len(texts) == len(classes), kind
            assert len(set(texts)) == len(classes), kind


def test_every_text_fits_into_clip_with_a_place_to_spare():
    texts = [text for column in every_text(CLASSES).values() for text in column]
    texts += [unit.phrase for count in (46, 47) for unit in prompts.action_units(count)]
    texts += prompts.vocabulary()
    assert max(lengths(texts)) < CONTEXT_LENGTH


def test_texts_are_plain_ascii_without_doubled_spaces():
    texts = [text for column in every_text(CLASSES).values() for text in column]
    texts += [unit.phrase for unit in prompts.action_units(47)]
    for text in texts:
        assert text.isascii()
        assert text == " ".join(text.split())


def test_the_three_granularities_build_on_each_other():
    first, second, third = (prompts.hard_prompts(("fear", "anger"), level) for level in (1, 2, 3))
    assert first == ("a photo of fear.", "a photo of anger.")
    assert second[0] == "a photo of a person making a facial expression of fear."
    assert third == tuple(
        f"{text} {sentence}"
        for text, sentence in zip(second, prompts.class_descriptions(("fear", "anger")), strict=True)
    )
    made = prompts.hard_prompts(("fear",), 3, {"fear": "Wide eyes."})
    assert made == ("a photo of a person making a facial expression of fear. Wide eyes.",)


def test_wrong_granularity_and_missing_descriptions_are_refused():
    with pytest.raises(UserError, match="expected 1, 2 or 3, got 4"):
        prompts.hard_prompts(("fear",), 4)
    with pytest.raises(UserError, match="expected one of each class, got none of anger"):
        prompts.hard_prompts(("fear", "anger"), 3, {"fear": "Wide eyes."})


def test_positive_and_negative_texts_differ_by_one_word():
    positive, negative = prompts.positive_negative(CLASSES)
    for name, yes, no in zip(prompts.class_words(CLASSES), positive, negative, strict=True):
        assert yes == f"a person with an expression of {name}."
        assert no.split() == [*yes.split()[:-1], "no", yes.split()[-1]]


def test_synonyms_belong_to_one_class_alone():
    owners, classes = {}, read("classes.yaml")["classes"]
    for name in CLASSES:
        synonyms = classes[name]["synonyms"]
        assert len(synonyms["noun"]) >= 2
        assert len(synonyms["adjective"]) >= 2
        for word in prompts.vocabulary([name]):
            assert word == word.lower().strip()
            assert owners.setdefault(word, name) == name
    assert set(prompts.vocabulary()) == set(owners)
    assert {"neutral", "joy", "joyful", "angrily", "let down"} <= set(prompts.vocabulary())


# Descriptions against FACS.


def weights(name):
    return {code: share * strength for code, (share, strength) in expressions.EXPRESSIONS[name].items()}


@pytest.mark.parametrize("name", CLASSES)
def test_a_description_names_the_units_of_most_weight_and_no_others(name):
    described, weight = described_units(name), weights(name)
    heavy = {code for code, value in weight.items() if value >= 0.5 * max(weight.values())}
    assert heavy <= set(described)
    assert set(described) <= set(weight)


@pytest.mark.parametrize("name", CLASSES)
def test_the_words_of_a_unit_stand_in_the_description_and_mean_that_unit(name):
    text = prompts.class_descriptions([name])[0].lower()
    for code, words in described_units(name).items():
        assert words.lower() in text
        unit = next(each for each in ACTION_UNITS if each.code == BILATERAL.get(code, (code,))[0])
        ours, facs = (
            {stem(word.strip(",")) for word in each.split()} for each in (words, f"{unit.phrase} {unit.name}")
        )
        assert len(ours & facs) >= 2, f"{code}: {words!r} against {unit.phrase!r}"


def test_a_description_is_nearest_to_the_prototype_of_its_own_class():
    named = [name for name in CLASSES if name != "neutral"]
    target = expressions.prototypes(tuple(named))
    described = torch.zeros_like(target)
    for row, name in enumerate(named):
        for code in described_units(name):
            for side in BILATERAL.get(code, (code,)):
                described[row, CODES.index(side)] = 1.0
    likeness = torch.nn.functional.normalize(described, dim=1) @ torch.nn.functional.normalize(target, dim=1).T
    assert likeness.argmax(dim=1).tolist() == list(range(len(named)))
    assert described_units("neutral") == {}


# Action units of CLIP-AU.


def test_the_list_of_action_units_is_the_papers():
    facs = [
        1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 41, 42, 43, 44, 45, 46,
        51, 52, 53, 54, 61, 62, 63, 64, 29, 31, 32, 37, 37, 33, 38, 39, 19,
    ]  # fmt: skip
    every = prompts.action_units(47)
    assert [unit.facs for unit in every] == [(number,) for number in facs]
    papers = prompts.action_units()
    assert papers[:45] == every[:45]
    assert papers[45].facs == (39, 19)
    assert papers[45].phrase == f"{every[45].phrase} {every[46].phrase}"
    assert papers[45].codes == ("AU39", "AU19")


def test_action_units_are_short_and_distinct_phrases():
    phrases = [unit.phrase for unit in prompts.action_units(47)]
    assert len(set(phrases)) == 47
    assert all(2 <= len(phrase.split()) <= 6 for phrase in phrases)


def test_action_units_map_to_all_columns_of_the_renderer_by_their_number():
    codes = [code for unit in prompts.action_units(47) for code in unit.codes]
    assert sorted(codes) == sorted(CODES)
    for unit in prompts.action_units(47):
        (number,) = unit.facs
        assert all(code.rstrip("LR") == f"AU{number}" for code in unit.codes)
        # Blinks, and lips that are wiped or licked, are the only ones that rendered faces do not show.
        assert bool(unit.codes) == (number not in (45, 37))


@pytest.mark.parametrize("count", [48, 0, -1])
def test_another_number_of_action_units_is_refused(count):
    with pytest.raises(UserError, match="expected 1 to 47, got"):
        prompts.action_units(count)


def test_requests_have_their_places():
    assert prompts.request("classes").count("{class}") == prompts.request("classes").count("{others}") == 1
    assert prompts.request("clips").count("{frames}") == 1


def test_units_stand_in_a_sentence_where_asked():
    bare = tuple(unit.phrase for unit in prompts.action_units(30))
    assert prompts.unit_texts(30) == bare
    assert prompts.unit_texts(30, bare=False) == tuple(f"a person with an expression of {text}" for text in bare)
    assert prompts.vocabulary()
    assert not set(prompts.unit_context().split()) & set(prompts.vocabulary())


def told(value):
    """A file's texts without what methods are not given: sources, and inflections, which only masks look at."""
    if isinstance(value, dict):
        return {key: told(each) for key, each in value.items() if key not in ("source", "forms")}
    return value


@pytest.mark.parametrize(("name", "expected"), [
    ("action_units.yaml", "43d37b50658afdce"),
    ("classes.yaml", "14a2665fd6d0dba3"),
    ("descriptions.yaml", "cdb7870e6aeb89ea"),
    ("templates.yaml", "2e0460dcf371c1c2"),
])  # fmt: skip
def test_texts_are_those_that_records_were_made_with(name, expected):
    """A record's settings name a text and do not hold it: whoever changes one makes the records of its users again.

    These are the experiments whose words, templates, descriptions, units or masks take it; run them with ``--force``
    (``fer-core sweep 'METHOD-*' --force``), and write the new digest here.
    """
    assert config.digest(told(read(name))) == expected
