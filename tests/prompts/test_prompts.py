import pytest

from fer_core import prompts
from fer_core.errors import UserError

EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
OTHERS = ("anxiety", "helplessness", "disappointment", "pain", "stress", "ambivalence")


def test_class_words_in_both_forms_keep_the_order_of_the_classes():
    assert prompts.class_words(("anger", "neutral", "happiness")) == ("anger", "neutral", "happiness")
    assert prompts.class_words(("anger", "neutral", "happiness"), "adjective") == ("angry", "neutral", "happy")


@pytest.mark.parametrize("words", ["noun", "adjective"])
def test_all_classes_of_the_data_sets_have_distinct_words(words):
    found = prompts.class_words(EXPRESSIONS + OTHERS, words)
    assert len(set(found)) == len(EXPRESSIONS + OTHERS)


def test_each_text_of_a_set_has_one_place_for_the_word():
    for name in prompts.names():
        forms = 0
        for words in ("noun", "adjective"):
            try:
                texts = prompts.templates(name, words)
            except UserError:
                continue
            forms += 1
            assert len(set(texts)) == len(texts)
            assert all(text.count("{}") == 1 and text.endswith(".") and text == text.strip() for text in texts)
        assert forms > 0


def test_the_ensemble_has_as_many_nouns_as_adjectives():
    assert len(prompts.templates("ensemble")) == len(prompts.templates("ensemble", "adjective")) > 1


def test_texts_are_one_row_a_class():
    assert prompts.texts(("fear", "anger"), "clip") == (("a photo of a fear.",), ("a photo of a anger.",))
    rows = prompts.texts(("fear", "anger"), "clip-fer2013", "adjective")
    assert [len(row) for row in rows] == [6, 6]
    assert rows[1][4] == "they look angry."


def test_a_template_of_ones_own():
    assert prompts.texts(("fear",), "pure {}") == (("pure fear",),)


@pytest.mark.parametrize("template", ["{} and {}", "a {word}.", "a {0}.", "half a brace {", "{{}}"])
def test_a_template_with_other_braces_is_refused(template):
    with pytest.raises(UserError, match=r"one \{\} for the class word"):
        prompts.templates(template)


def test_unknown_names_get_the_nearest_known_one():
    with pytest.raises(UserError, match="did you mean 'happiness'"):
        prompts.class_words(("neutral", "hapiness"))
    with pytest.raises(UserError, match="did you mean 'ensemble'"):
        prompts.templates("ensembles")
    with pytest.raises(UserError, match="unknown set of templates"):
        prompts.templates("nothing like it")


def test_a_set_without_the_form_says_which_it_has():
    with pytest.raises(UserError, match="use words='adjective'"):
        prompts.templates("clip-fer2013", "noun")
