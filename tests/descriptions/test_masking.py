import pytest

from fer_core import prompts
from fer_core.descriptions import masking
from fer_core.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She looks happy.", "She looks emotion."),
        ("An angry man, a happy woman, An Anxious child", "An emotion man, an emotion woman, An Emotion child"),
        ("Happiness, sadness; FEAR!", "Emotion, emotion; Emotion!"),
        ("surprised surprising surprisingly surprises", "emotion emotion emotion emotion"),
        ("angrily, happily, sadder, fearfully, painful", "emotion, emotion, emotion, emotion, emotion"),
        ("let down, let-down, let  down and let\ndown", "emotion, emotion, emotion and emotion"),
        ("let. Down the street", "let. Down the street"),
        ("They let the head drop down.", "They let the head drop down."),
        ("mixed feelings", "emotion"),
        ("fear's grip, fear’s grip, pain-like, non-neutral", "emotion grip, emotion grip, emotion-like, non-emotion"),
        ("_fear_ 2fear", "_emotion_ 2emotion"),
        ("Furious, terrified, joyful, disdainful, hesitant", "Emotion, emotion, emotion, emotion, emotion"),
        ("", ""),
        ("a (happy) face", "a (emotion) face"),
    ],
)
def test_class_words_are_masked(text, expected):
    assert masking.mask(text) == expected


def test_every_word_of_every_class_is_masked_in_any_case():
    assert len(prompts.vocabulary()) > 150
    for word in prompts.vocabulary():
        for form in (word, word.upper(), word.capitalize()):
            assert masking.mask(f"It shows {form} here.").lower() == "it shows emotion here.", form


@pytest.mark.parametrize(
    "text",
    [
        "The lip corners are pulled up into a smile, the eyelids tense, then relaxed.",
        "The lower lip depressed, the depressor at work.",
        "A frown; the jaw drops, the paint on the wall is new, an apparent scar, a general nod.",
        "The person is made to turn, ragged breath, contents, distance, helping hands.",
        "Die Brauen heben sich — 眉が上がる, naïve façade.",
    ],
)
def test_words_of_movement_and_near_misses_stay(text):
    assert masking.mask(text) == text


def test_our_own_descriptions_and_action_units_name_no_class():
    ours = [*prompts.class_descriptions(prompts.class_names()), *(unit.phrase for unit in prompts.action_units(47))]
    assert [masking.mask(text) for text in ours] == ours


def test_masking_twice_changes_nothing():
    text = "An anxious, hurt look turns into an amused one; a sad end."
    once = masking.mask(text)
    assert once == "An emotion, emotion look turns into an emotion one; an emotion end."
    assert masking.mask(once) == once


def test_the_article_follows_another_word():
    assert masking.mask("an angry, a happy and An uneasy face", "masked") == "a masked, a masked and A masked face"


def test_labels_that_differ_by_one_word_become_equal():
    for words in ("noun", "adjective"):
        texts = prompts.texts(prompts.class_names(), "les-clip", words)
        assert len({masking.mask(text) for (text,) in texts}) == 1


@pytest.mark.parametrize("word", ["", "two words", "4", "Happy", "surprises", "painful"])
def test_a_word_that_cannot_stand_for_classes_is_refused(word):
    with pytest.raises(UserError, match="mask: expected"):
        masking.mask("She looks happy.", word)
