"""Every public name of the library, found by importing its modules and looking into them."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import fer_core

_COMMANDS = ("cli", "bench")  # the command line tells of itself by --help


@dataclass(frozen=True)
class Public:
    """A public class, function, method or property, and the class that it is in."""

    name: str
    value: Any
    owner: type | None = None

    @property
    def told(self) -> str:
        """Its docstring."""
        return inspect.cleandoc(self.value.__doc__ or "")

    @property
    def parameters(self) -> list[str]:
        """Names of what it takes, without the object or class that a method is called on."""
        names = list(inspect.signature(self.value).parameters)
        return names[1:] if self.owner and names[:1] in (["self"], ["cls"]) else names


def modules() -> list[ModuleType]:
    """All modules but private ones and those of the command line."""
    names = [found.name for found in pkgutil.walk_packages(fer_core.__path__, "fer_core.")]
    return [
        importlib.import_module(name)
        for name in names
        if "._" not in name and name.split(".")[1].split("_")[0] not in _COMMANDS
    ]


def of(module: ModuleType) -> Iterator[Public]:
    """The public names that a module defines."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield Public(f"{module.__name__}.{name}", value)
            yield from _members(value)
        elif callable(value) and inspect.isfunction(inspect.unwrap(value)):
            yield Public(f"{module.__name__}.{name}", inspect.unwrap(value))


def _members(owner: type) -> Iterator[Public]:
    for name, value in vars(owner).items():
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        elif isinstance(value, cached_property):
            value = property(value.func)
        # matplotlib writes functions of its own into classes that inherit from it.
        ours = isinstance(value, property) or (inspect.isfunction(value) and value.__module__ == owner.__module__)
        if not name.startswith("_") and ours:
            yield Public(f"{owner.__module__}.{owner.__qualname__}.{name}", value, owner)
