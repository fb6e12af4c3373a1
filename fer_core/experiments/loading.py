"""Reads experiment files, lays a profile and a user's overrides over them, and refuses what it does not know."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from fer_core import config
from fer_core.errors import UserError, unknown

#: From seconds for tests to the papers' own settings.
PROFILES = ("smoke", "quick", "full", "paper")
PROTOCOLS = ("splits", "leave-one-out")
_PACKAGE = "fer_core.experiments"


class _Loader(yaml.SafeLoader):
    """YAML with the scalars that people expect: ``1e-3`` is a number, ``off`` and ``no`` are words, keys come once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a key that comes twice is refused instead of silently overwritten."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for position, key in enumerate(keys) if key in keys[:position]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads "off" as false, "1e-3" as text, "012" as ten and dates as dates; these are YAML 1.2's scalars.
_OURS = {
    "bool": (r"^(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"^[-+]?(0|[1-9]\d*)$", "-+0123456789"),
    "float": (r"^[-+]?(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?$|^[-+]?\.inf$|^\.nan$", "-+0123456789."),
}
_DROPPED = tuple(f":{kind}" for kind in (*_OURS, "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(_DROPPED)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, (_pattern, _first) in _OURS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Settings:
    """What a run is made of: an experiment with one profile and the overrides laid over it.

    Args:
        method: Name of the method.
        dataset: Name of the data set.
        backbone: Name of the CLIP.
        data: Options of the data set; and of any: ``limit`` (most samples, by split) makes a class-balanced subset,
            ``annotations`` (``data.annotations.AnnotatorOptions``) adds landmarks and parsing maps, ``descriptions``
            (a file of ``fer-core describe clips``) gives captions, ``shots`` takes so many training samples of each
            class, and ``label_noise`` (``data.LabelNoise``) mislabels some, others for each seed.
        model: The method's config.
        training: The engine's ``Training``.
        source: Name of the method that is trained, where ``method`` is a test-time method; ``model`` and ``training``
            are its.
        adapt: The test-time method's config.
        protocol: Who trains and who is tested; see :mod:`fer_core.experiments.protocols`.
        train_on: Another data set to train on, by ``dataset`` and its options as in ``data``; empty for the own one.
    """

    method: str
    dataset: str
    backbone: str = "embedded"
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    adapt: dict[str, Any] = field(default_factory=dict)
    protocol: str = "splits"
    train_on: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise unknown("protocol", self.protocol, PROTOCOLS)


@dataclass(frozen=True)
class Ablation:
    """One table of an experiment with something of it left out, added or changed.

    Args:
        caption: One or two sentences, above the table.
        rows: By title, from top to bottom: settings by dotted key (none for the experiment itself), or the name of
            another experiment on the same data.
        common: Settings of all rows but those of other experiments, such as a smaller training split.
        profile: Of all rows.
    """

    caption: str
    rows: dict[str, Any]
    common: dict[str, Any] = field(default_factory=dict)
    profile: str = "full"

    def settings(self, title: str) -> dict[str, Any]:
        """A row's settings with the common ones, by dotted key; empty for another experiment."""
        row = self.rows[title]
        return {} if isinstance(row, str) else {**self.common, **row}


# What --set and a profile may change: another method or data set would be another experiment.
_CHANGEABLE = ("backbone", "protocol", "train_on", "data", "model", "training", "adapt")
_WORDS = ("backbone", "protocol")


@dataclass(frozen=True)
class Experiment:
    """One experiment file.

    Args:
        name: ``<method>-<dataset>``, as its file.
        title: One line for listings.
        method: Name of the method.
        dataset: Name of the data set.
        backbone: Name of the CLIP.
        data: Options of the data set.
        model: The method's config.
        training: The engine's ``Training``.
        expected: Scores that the ``full`` profile is known to give, as ``war: [lowest, highest]`` in percent; None
            until its records are there.
        profiles: Changes to ``backbone``, ``data``, ``model`` and ``training``, by profile.
        ablations: Tables of variants, by name; see :class:`Ablation`.
        source: Of a test-time method, the experiment whose trained method it adapts: data, CLIP, model and training are
            that experiment's, in each profile, with this one's own data, model and training laid over them.
        adapt: The test-time method's config.
    """

    name: str
    title: str
    method: str
    dataset: str
    profiles: dict[str, Any]
    backbone: str = "embedded"
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] | None = None
    ablations: dict[str, Ablation] = field(default_factory=dict)
    source: str | None = None
    adapt: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name != f"{self.method}-{self.dataset}":
            raise ValueError(f"expected the name {self.method}-{self.dataset}, got {self.name!r}; rename one of them")
        if self.source is not None and not self.source.endswith(f"-{self.dataset}"):
            raise ValueError(
                f"source of {self.name}: expected an experiment on {self.dataset}, got {self.source!r}; name one"
            )
        if self.source is not None and self.backbone != "embedded":
            raise ValueError(
                f"backbone of {self.name}: expected none, as {self.source} has it, got {self.backbone!r}; drop it"
            )
        if self.adapt and self.source is None:
            raise ValueError(f"adapt of {self.name}: expected a source to adapt, got none; name its experiment")
        for profile, changes in self.profiles.items():
            if profile not in PROFILES:
                raise unknown(f"profile in {self.name}", profile, PROFILES)
            _check_changes(changes, f"profile {profile} of {self.name}")
        for name, ablation in self.ablations.items():
            if ablation.profile not in self.profiles:
                raise unknown(f"profile of the ablation {name} of {self.name}", ablation.profile, self.profiles)
            for title, row in ablation.rows.items():
                if isinstance(row, str) and row.endswith(f"-{self.dataset}"):
                    continue
                if not isinstance(row, Mapping):
                    raise ValueError(
                        f"ablation {name} of {self.name}: expected settings, or an experiment on {self.dataset}, as "
                        f"{title!r}, got {row!r}; mend that row"
                    )

    def settings(self, profile: str, overrides: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a run.

        Args:
            profile: One that the experiment has.
            overrides: Values by dotted key, laid over the profile; see :func:`parse_overrides`.

        Raises:
            UserError: If the experiment has no such profile, or an override's key is not known.
        """
        if profile not in self.profiles:
            raise unknown(f"profile of {self.name}", profile, self.profiles)
        own = Settings(self.method, self.dataset, self.backbone, self.data, self.model, self.training)
        if self.source is not None:
            trained = load(self.source).settings(profile)
            own = replace(trained, method=self.method, source=trained.method, adapt=self.adapt)
            laid = {key: _merge(getattr(own, key), getattr(self, key)) for key in ("data", "model", "training")}
            own = replace(own, **laid)
        changes = [self.profiles[profile], *(_nested(key, value) for key, value in (overrides or {}).items())]
        for change in changes:
            _check_changes(change, self.name)
            if "adapt" in change and self.source is None:
                raise UserError(
                    f"{self.name}: expected no settings of adapt, as {self.method} adapts nothing; drop them"
                )
            merged = {key: _merge(getattr(own, key), value) for key, value in change.items()}
            own = replace(own, **merged)
        return own


def _check_changes(changes: Any, where: str) -> None:
    if not isinstance(changes, Mapping):
        raise UserError(f"{where}: expected a mapping of settings, got {changes!r}; give names with values")
    for key, value in changes.items():
        if key not in _CHANGEABLE:
            raise unknown(f"setting of {where}", key, _CHANGEABLE)
        if key in _WORDS and not isinstance(value, str):
            raise UserError(f"{where}: expected a name for {key}, got {value!r}; quote it if it is one")
        if key not in _WORDS and not isinstance(value, Mapping):
            raise UserError(f"{where}: expected settings of {key}, got {value!r}; name one, such as {key}.NAME=VALUE")


def _nested(key: str, value: Any) -> dict[str, Any]:
    """``a.b``: v as ``{a: {b: v}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(old: Any, new: Any) -> Any:
    """Mappings are merged key by key; anything else is replaced."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping by dotted key; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def parse_overrides(assignments: Sequence[str], flag: str = "--set") -> dict[str, Any]:
    """``["training.lr=1e-3", ...]`` as values by dotted key, typed as YAML reads them.

    Args:
        assignments: What stood on the command line.
        flag: After which option, for messages.

    Raises:
        UserError: If one is not ``key=value``, its value is no YAML, or a key comes twice.
    """
    found: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not (equals and key and all(key.split("."))):
            raise UserError(f"{flag}: expected KEY=VALUE, got {assignment!r}; write a name, = and a value")
        if key in found:
            raise UserError(f"{flag}: expected {key} once, got it twice; leave one of them out")
        try:
            # Safe: the loader derives from SafeLoader and builds plain values only.
            found[key] = yaml.load(text, Loader=_Loader)
        except (yaml.YAMLError, ValueError, KeyError, AttributeError):  # the latter of tags such as !!int
            shown = text if len(text) < 80 else f"{text[:80]}…"
            raise UserError(f"{flag}: expected a YAML value for {key}, got {shown!r}; quote it if it is text") from None
    return found


def names() -> tuple[str, ...]:
    """Names of all experiments."""
    found = (path.name for path in files(_PACKAGE).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml")))


@cache  # unbounded: walks over all experiments, of which there are more than an lru_cache holds by default
def load(name: str) -> Experiment:
    """Reads an experiment.

    Raises:
        UserError: If there is none of that name; the message names the nearest.
    """
    if name not in names():
        raise unknown("experiment", name, names())
    return parse(files(_PACKAGE).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


def parse(text: str, where: str) -> Experiment:
    """Reads an experiment from YAML.

    Raises:
        UserError: If it is no YAML, or a key or value is not what an experiment has.
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: expected YAML, got an error: {reason}; mend the file there") from error
    required = [each.name for each in fields(Experiment) if each.default is each.default_factory is MISSING]
    missing = [key for key in required if key not in (values or {})]
    if missing:
        raise UserError(f"{where}: expected the key {missing[0]!r}, got none; add it")
    return config.build(Experiment, values, where)
