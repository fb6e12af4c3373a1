"""Every prompt text of the project, kept as YAML with its source.

``classes.yaml`` has a noun and an adjective for each class name, ``templates.yaml`` named sets of templates for either
form. A method's config names a set, or gives a template of its own with ``{}`` in it.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from fer_core.errors import UserError, unknown

Words = Literal["noun", "adjective"]


@lru_cache
def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load(files(__name__).joinpath(name).read_text(encoding="utf-8"))


def names() -> tuple[str, ...]:
    """Names of the template sets."""
    return tuple(_read("templates.yaml"))


def source(name: str) -> str:
    """Where a set of templates comes from.

    Raises:
        UserError: If there is no such set.
    """
    return _set(name)["source"]


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
    known = _read("classes.yaml")["classes"]
    for name in classes:
        if name not in known:
            raise unknown("class", name, known)
    return tuple(known[name][words] for name in classes)


def texts(classes: Sequence[str], name: str, words: Words = "noun") -> tuple[tuple[str, ...], ...]:
    """Prompts of each class: one row a class, one text a template.

    Raises:
        UserError: As :func:`templates` and :func:`class_words`.
    """
    chosen = templates(name, words)
    return tuple(tuple(template.format(word) for template in chosen) for word in class_words(classes, words))


def _set(name: str) -> dict[str, Any]:
    known = _read("templates.yaml")
    if name not in known:
        raise unknown("set of templates", name, known)
    return known[name]
