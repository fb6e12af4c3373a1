"""Every prompt text of the project, kept as YAML with its source.

=====================  ==============================================================================================
``classes.yaml``       words for each class name: noun, adjective, synonyms
``templates.yaml``     named sets of templates for nouns or adjectives; a method's config names a set, or gives a
                       template of its own with ``{}`` in it
``descriptions.yaml``  one FACS-based description per class
``action_units.yaml``  CLIP-AU's list of action units in words
``requests.yaml``      what ``fer-core describe`` asks language models
=====================  ==============================================================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from fer_core.errors import UserError, unknown

Words = Literal["noun", "adjective"]
Granularity = Literal[1, 2, 3]


@lru_cache
def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load(files(__name__).joinpath(name).read_text(encoding="utf-8"))


def names() -> tuple[str, ...]:
    """Names of the template sets."""
    return tuple(_read("templates.yaml"))


def class_names() -> tuple[str, ...]:
    """Every class that has words, over all data sets."""
    return tuple(_read("classes.yaml")["classes"])


def templates(name: str, words: Words = "noun") -> tuple[str, ...]:
    """The texts of a set of templates, each with one ``{}``.

    Args:
        name: A name of :func:`names`, or a template itself, such as ``"a photo of a {}."``.
        words: The form of class word that the texts must fit.

    Raises:
        UserError: If there is no such set, or it has no text for that form.
    """
    if "{" in name or "}" in name:
        if name.count("{}") != 1 or name.count("{") + name.count("}") != 2:
            raise UserError(
                f"expected a template with one {{}} for the class word, got {name!r}; write 'a photo of a {{}}.'"
            )
        return (name,)
    forms = _set(name)
    if words not in forms:
        others = ", ".join(form for form in forms if form != "source")
        raise UserError(
            f"expected templates for words={words!r} in the set {name!r}, got only {others}; use words={others!r}"
        )
    return tuple(forms[words])


def class_words(classes: Sequence[str], words: Words = "noun") -> tuple[str, ...]:
    """The words that stand for classes in a prompt.

    Args:
        classes: Class names of a data set.
        words: ``noun`` (happiness) or ``adjective`` (happy).

    Raises:
        UserError: If a class has no words.
    """
    return tuple(_class("classes.yaml", name)[words] for name in classes)


def vocabulary(classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Every word that names a class: noun, adjective, synonyms, and inflections that no stemmer finds.

    Args:
        classes: Class names; every class by default.

    Returns:
        Words and phrases in lower case, none twice.

    Raises:
        UserError: If a class has no words.
    """
    found: dict[str, None] = {}
    for name in class_names() if classes is None else classes:
        entry = _class("classes.yaml", name)
        found |= dict.fromkeys((name, entry["noun"], entry["adjective"], *entry["forms"]))
        found |= dict.fromkeys(word for form in entry["synonyms"].values() for word in form)
    return tuple(found)


def texts(classes: Sequence[str], name: str, words: Words = "noun") -> tuple[tuple[str, ...], ...]:
    """Prompts of each class: one row a class, one text a template.

    Raises:
        UserError: As :func:`templates` and :func:`class_words`.
    """
    chosen = templates(name, words)
    return tuple(tuple(template.format(word) for template in chosen) for word in class_words(classes, words))


def positive_negative(classes: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """FineCLIPER's two texts of each class: that the expression is there, and that it is not.

    Raises:
        UserError: If a class has no words.
    """
    rows = texts(classes, "fine-cliper"), texts(classes, "fine-cliper-negative")
    return tuple(row[0] for row in rows[0]), tuple(row[0] for row in rows[1])


def class_descriptions(classes: Sequence[str], own: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """One sentence per class on what moves in the face, after FACS; it never names an emotion.

    Args:
        classes: Class names of a data set.
        own: Other descriptions by class, such as ``fer-core describe classes`` makes; ours by default.

    Raises:
        UserError: If a class has no description.
    """
    if own is not None:
        if missing := [name for name in classes if not own.get(name, "").strip()]:
            raise UserError(
                f"descriptions: expected one of each class, got none of {', '.join(missing)}; `fer-core describe "
                "classes` makes them"
            )
        return tuple(own[name] for name in classes)
    return tuple(_class("descriptions.yaml", name)["text"] for name in classes)


def hard_prompts(
    classes: Sequence[str], granularity: Granularity = 3, descriptions: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """MPA-FER's hand-written prompts, one per class, in three granularities.

    Args:
        classes: Class names of a data set.
        granularity: 1 names the class, 2 names it as a facial expression of a person, 3 adds a description.
        descriptions: Another description of each class for granularity 3, such as ``fer-core describe classes``
            makes; ours by default.

    Raises:
        UserError: If there is no such granularity, or a class has no words or no description.
    """
    if granularity not in (1, 2, 3):
        raise UserError(f"granularity: expected 1, 2 or 3, got {granularity!r}; 3 is the paper's choice")
    rows = texts(classes, f"mpa-fer-{min(granularity, 2)}")
    if granularity < 3:
        return tuple(row[0] for row in rows)
    told = class_descriptions(classes, descriptions)
    return tuple(f"{row[0]} {text}" for text, row in zip(told, rows, strict=True))


@dataclass(frozen=True)
class UnitPhrase:
    """An action unit in words.

    Args:
        phrase: A bare phrase, without a template.
        facs: FACS numbers, one except where two units share a text.
        codes: Columns of ``fer_core.faces.ACTION_UNITS`` that show it; empty where rendered faces never do.
    """

    phrase: str
    facs: tuple[int, ...]
    codes: tuple[str, ...]


def action_units(count: int = 46) -> tuple[UnitPhrase, ...]:
    """CLIP-AU's list of action units in words, in its order.

    Args:
        count: 46 for the paper's list, whose last text joins two units; 47 for each unit by itself; fewer for the first
            so many, of which the first 30 are units of the face and the others head, eyes and manners.

    Raises:
        UserError: If there is no list of that length.
    """
    units = [
        UnitPhrase(entry["phrase"], tuple(entry["facs"]), tuple(entry["codes"]))
        for entry in _read("action_units.yaml")["phrases"]
    ]
    if not 1 <= count <= len(units):
        raise UserError(f"action units: expected 1 to {len(units)}, got {count!r}; the paper has 46")
    if count < len(units) - 1:
        return tuple(units[:count])
    if count < len(units):
        *units, last, extra = units
        units.append(UnitPhrase(f"{last.phrase} {extra.phrase}", last.facs + extra.facs, last.codes + extra.codes))
    return tuple(units)


def request(name: Literal["classes", "clips"]) -> str:
    """What ``fer-core describe`` asks a language model, with places in braces to be filled in."""
    return _read("requests.yaml")[name]


def _class(file: str, name: str) -> dict[str, Any]:
    known = _read(file)["classes"]
    if name not in known:
        raise unknown("class", name, known)
    return known[name]


def _set(name: str) -> dict[str, Any]:
    known = _read("templates.yaml")
    if name not in known:
        raise unknown("set of templates", name, known)
    return known[name]


def unit_texts(count: int = 46, bare: bool = True) -> tuple[str, ...]:
    """The phrases of :func:`action_units`, bare or each in a sentence.

    Raises:
        UserError: As :func:`action_units`.
    """
    template = "{}" if bare else _read("action_units.yaml")["template"]
    return tuple(template.format(unit.phrase) for unit in action_units(count))


def unit_context() -> str:
    """Words before an action unit that say nothing of the person: where a learned context may start."""
    return _read("action_units.yaml")["context"]
