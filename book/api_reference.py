"""A Sphinx extension: how docstrings of the library become its reference, beside what autodoc does by itself.

A name in a docstring or signature means what it means in the module that it stands in: whatever is imported there is
linked to where it is defined. A short constant shows its value, and a package the names that it offers.
"""

import ast
import inspect
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import fer_core

_LONGEST_VALUE = 240  # characters; longer tables are read in the source


def add_value(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Adds the value of a constant to its description, where it is short and a plain literal."""
    if what == "data" and (value := _literal(obj)):
        lines += ["", f"Value: ``{value}``"]


def add_names(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Adds to a package's description the names that it offers, with links to where they are defined."""
    if what == "module" and hasattr(obj, "__all__"):
        links = (f":py:obj:`{offered} <{full_name(f'{name}.{offered}')}>`" for offered in obj.__all__)
        lines += ["", f"``{name}`` offers {', '.join(links)}.", ""]


def leave_out_foreign(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out what others write into our classes: matplotlib its ``set``, named tuples a number for each field."""
    foreign = what == "class" and inspect.isfunction(obj) and not obj.__module__.startswith("fer_core")
    numbered = (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")
    return True if foreign or numbered else None  # None: as autodoc would


def show_factories(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Writes ``...`` where a dataclass makes a default anew: Sphinx cannot read what dataclasses show there."""
    return (signature.replace("<factory>", "...") if signature else signature), returns


def show_public_bases(app: Sphinx, name: str, obj: type, options: Any, bases: list[type]) -> None:
    """Puts in the place of a class's private bases those that they have themselves."""
    bases[:] = _public(bases)


def resolve_names(app: Sphinx, doctree: nodes.document) -> None:
    """Gives each reference its target's full name; type variables and aliases, which are no classes, become text."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("refdomain") != "py" or node["reftype"] == "mod":
            continue
        node["reftarget"] = target = full_name(node["reftarget"], node.get("py:module"))
        module, _, name = target.rpartition(".")
        value = getattr(sys.modules.get(module or node.get("py:module", "")), name, None)
        if node["reftype"] == "class" and not isinstance(value, type | None):
            node.replace_self(nodes.Text(name))


def full_name(target: str, module: str | None = None) -> str:
    """Where a name is defined, following imports.

    Args:
        target: A name, its parts joined by dots.
        module: The module in which it is written, if any.

    Returns:
        The full name; ``target`` itself where it is no name of the library that is imported from elsewhere.
    """
    first, *rest = target.split(".")
    if module and first in _imports(module):
        return full_name(".".join([_imports(module)[first], *rest]))
    parts = target.split(".")
    # The longest run of parts that is a module, and what it makes of the part that follows.
    for count in range(len(parts) - 1, 0, -1):
        owner = ".".join(parts[:count])
        if owner in sys.modules:
            found = _imports(owner).get(parts[count])
            # A package that imports its own modules gives them no other name.
            if found is None or found == f"{owner}.{parts[count]}":
                return target
            return full_name(".".join([found, *parts[count + 1 :]]))
    return target


@cache
def _imports(module: str) -> dict[str, str]:
    """What a module imports by ``from``, under ``TYPE_CHECKING`` too: full names by the names that it uses."""
    if not module.startswith("fer_core"):
        return {}
    tree = ast.parse(inspect.getsource(import_module(module)))
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
        for alias in node.names
    }


def _public(bases: Sequence[type]) -> list[type]:
    found: list[type] = []
    for base in bases:
        inner = _public(base.__bases__) if base.__name__.startswith("_") else [base]
        found += [each for each in inner if each not in found]
    return found


def _literal(value: Any) -> str | None:
    text = repr(value)
    if len(text) > _LONGEST_VALUE:
        return None
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    return text


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the steps with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", add_value)
    app.connect("autodoc-process-docstring", add_names)
    app.connect("autodoc-skip-member", leave_out_foreign)
    app.connect("autodoc-process-signature", show_factories)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("doctree-read", resolve_names)
    return {"version": fer_core.__version__, "parallel_read_safe": True, "parallel_write_safe": True}
