"""Docstrings of public names, which the reference is made of: they are there and fit what they describe."""

import doctest
import inspect
import re
from dataclasses import dataclass, is_dataclass

import public_names
import pytest
from public_names import Public

_MANY = 4  # parameters that take an Args section, unless sentences name them all or say whose they are


@pytest.fixture(scope="module")
def modules():
    return public_names.modules()


def _sections(text):
    """The sections of a Google-style docstring, with the names of their entries."""
    found = re.findall(r"^(Args|Returns|Yields|Raises):\n((?:    .*\n?|\n)*)", text, re.MULTILINE)
    return {head: re.findall(r"^    (\*{0,2}\w[\w.]*):(?= )", body, re.MULTILINE) for head, body in found}


def _fault_of_args(public, names):
    if inspect.isclass(public.value) and is_dataclass(public.value):
        # Fields that it inherits are told of where they come from, unless they mean something else here.
        own = {name for name in public.parameters if name in vars(public.value).get("__annotations__", {})}
        sound = own <= set(names) <= set(public.parameters) and len(set(names)) == len(names)
    else:
        sound = [name.lstrip("*") for name in names] == public.parameters
    return None if sound else f"expected Args {public.parameters}, got {names}"


def _fault_without_args(public):
    elsewhere = re.search(r":(func|meth):`", public.told)
    overrides = public.owner and any(public.value.__name__ in vars(base) for base in public.owner.__mro__[1:])
    unnamed = [name for name in public.parameters if not re.search(rf"\b{name}\b", public.told)]
    needed = len(public.parameters) >= _MANY and unnamed and not (elsewhere or overrides)
    return f"expected Args, or sentences that name {', '.join(unnamed)}" if needed else None


def _fault(public):
    """What is wrong with a docstring; None where nothing is."""
    # What dataclasses write by themselves is none.
    if not public.told or public.told.startswith(f"{public.name.rpartition('.')[2]}("):
        return "expected a docstring"
    sections = _sections(public.told)
    errors = sections.get("Raises")
    if errors is not None and not (errors and all(name.split(".")[-1][0].isupper() for name in errors)):
        return f"expected 'Error: If ...' under Raises, got {errors}"
    if isinstance(public.value, property):
        return None
    if "Args" in sections:
        return _fault_of_args(public, sections["Args"])
    return None if inspect.isclass(public.value) else _fault_without_args(public)


def test_every_public_name_has_a_sound_docstring(modules):
    public = [each for module in modules for each in public_names.of(module)]
    assert len(public) > 900  # fewer: the walk itself has lost some
    assert {each.name: fault for each in public if (fault := _fault(each))} == {}
    assert [module.__name__ for module in modules if not module.__doc__] == []


def test_examples_in_docstrings_run(modules):
    ran = doctest.TestResults(0, 0)
    for module in modules:
        if ">>>" in inspect.getsource(module):
            result = doctest.testmod(module)
            ran = doctest.TestResults(ran.failed + result.failed, ran.attempted + result.attempted)
    assert ran.failed == 0
    assert ran.attempted >= 2


def _bare(a):
    pass


def _short(a, b):
    """Adds two numbers."""


def _long(a, b, c, d):
    """Adds a and b."""


def _swapped(a, b):
    """Adds.

    Args:
        b: The second: a number.
        a: The first.
    """


def _prose(a):
    """Refuses.

    Raises:
        If the number is odd.
    """


def _sound(a, *b, **c):
    """Adds.

    Args:
        a: The first, of which
            more is said: here.
        *b: Others.
        **c: More.

    Raises:
        UserError: If it is odd.
    """


@dataclass
class _Untold:
    a: int


@dataclass
class _Base:
    """One number.

    Args:
        a: It.
    """

    a: int


@dataclass
class _Derived(_Base):
    """Two numbers.

    Args:
        c: Neither.
    """

    b: int


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (_bare, "expected a docstring"),
        (_short, None),
        (_long, "expected Args, or sentences that name c, d"),
        (_swapped, "expected Args ['a', 'b'], got ['b', 'a']"),
        (_prose, "expected 'Error: If ...' under Raises, got []"),
        (_sound, None),
        (_Untold, "expected a docstring"),
        (_Base, None),
        (_Derived, "expected Args ['a', 'b'], got ['c']"),
    ],
)
def test_a_wrong_docstring_is_found(value, fault):
    assert _fault(Public(f"here.{value.__name__}", value)) == fault
