"""Frozen-dataclass configs: built from mappings that are checked, and digested for records."""

import dataclasses
import hashlib
import json
import os
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from fer_core.errors import UserError, unknown

Config = TypeVar("Config")


def build(cls: type[Config], mapping: Mapping[str, Any] | None, where: str) -> Config:
    """Builds a frozen dataclass from a mapping, refusing what the class does not know.

    Args:
        cls: A dataclass. Nested dataclasses are built from nested mappings, sequences become tuples.
        mapping: Field names and values; missing fields keep their defaults.
        where: What the mapping sets, for messages ("training", "model of coop").

    Returns:
        An instance of ``cls``.

    Raises:
        UserError: For an unknown key, a value of the wrong type, a missing field, or a value that
            ``__post_init__`` refuses with a ``ValueError``.
    """
    if mapping is not None and not isinstance(mapping, Mapping):
        raise UserError(f"{where}: expected a mapping of settings, got {mapping!r}; give names with values")
    hints = _hints(cls)
    values = {}
    for key, value in (mapping or {}).items():
        if key not in hints:
            raise unknown(f"setting of {where}", key, hints)
        values[key] = _convert(hints[key], value, f"{where}.{key}")
    try:
        return cls(**values)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """The type of each field by its name. Kept: to evaluate annotations takes longer than to build a config."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _convert(hint: Any, value: Any, where: str) -> Any:
    """The value as the annotated type, where that loses nothing."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else build(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [argument for argument in arguments if argument is not type(None)]
        for argument in rest[:-1]:
            try:
                return _convert(argument, value, where)
            except UserError:
                continue
        return _convert(rest[-1], value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise unknown(f"value of {where}", value, [str(argument) for argument in arguments])
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{where}: expected a list, got {value!r}; write [A, B]")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(arguments[0], item, where) for item in value)
        if len(arguments) != len(value):
            raise UserError(f"{where}: expected {len(arguments)} values, got {len(value)}; give as many")
        return tuple(_convert(kind, item, where) for kind, item in zip(arguments, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not -sys.float_info.max <= value <= sys.float_info.max:
            raise UserError(f"{where}: expected a finite number, got {str(value)[:20]}; give such a one")
        return float(value)
    plain = origin or hint
    if not isinstance(plain, type):
        return value
    # bool is an int to Python; to a user it is not a number.
    if not isinstance(value, plain) or (isinstance(value, bool) and plain in (int, float)):
        raise UserError(f"{where}: expected {plain.__name__}, got {value!r} ({type(value).__name__}); give such a one")
    return value


def plain(value: Any) -> Any:
    """A config as JSON types: dataclasses to dicts, tuples to lists, paths to strings.

    Raises:
        TypeError: For a value of any other type.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # Not its text: that may name a place in memory, and a digest of it would change from run to run.
    raise TypeError(f"expected settings of JSON types, got {value!r} ({type(value).__name__})")


def digest(value: Any) -> str:
    """SHA-256 of the value's canonical JSON, its first 16 hex digits."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
