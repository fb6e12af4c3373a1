"""Configs are built from checked mappings; digests depend on values alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from fer_core import config
from fer_core.errors import UserError


@dataclass(frozen=True)
class Inner:
    """A nested config."""

    scale: tuple[float, float] = (0.5, 1.0)


@dataclass(frozen=True)
class Outer:
    """A config with one field of each kind."""

    epochs: int
    lr: float = 0.1
    clip: float | None = None
    optimizer: Literal["adamw", "sgd"] = "adamw"
    layers: tuple[int, ...] = ()
    cache: bool = True
    inner: Inner = field(default_factory=Inner)
    anything: Any = None

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"expected epochs of at least 0, got {self.epochs}")


def test_builds_nested_values() -> None:
    mapping = {"epochs": 3, "lr": 1, "clip": 2, "layers": [1, 2], "inner": {"scale": [0.2, 1]}, "anything": [None]}
    built = config.build(Outer, mapping, "training")
    assert built == Outer(3, lr=1.0, clip=2.0, layers=(1, 2), inner=Inner((0.2, 1.0)), anything=[None])
    assert [type(value) for value in (built.lr, built.clip, *built.inner.scale)] == [float] * 4


def test_takes_a_built_config_and_none() -> None:
    assert config.build(Outer, {"epochs": 1, "inner": Inner((0.1, 0.2)), "clip": None}, "t").inner.scale == (0.1, 0.2)
    assert config.build(Inner, None, "t") == Inner()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"epoch": 1}, "unknown setting of training 'epoch'; did you mean 'epochs'?"),
        ({"epochs": "3"}, r"training\.epochs: expected int, got '3' \(str\)"),
        ({"epochs": True}, r"training\.epochs: expected int, got True \(bool\)"),
        ({"epochs": 1.0}, r"training\.epochs: expected int, got 1\.0"),
        ({"epochs": 1, "lr": False}, r"training\.lr: expected float, got False"),
        ({"epochs": 1, "clip": "much"}, r"training\.clip: expected float, got 'much'"),
        ({"epochs": 1, "cache": 1}, r"training\.cache: expected bool, got 1"),
        ({"epochs": 1, "optimizer": "adam"}, "unknown value of training.optimizer 'adam'; did you mean 'adamw'?"),
        ({"epochs": 1, "layers": "12"}, "training.layers: expected a list"),
        ({"epochs": 1, "layers": [1, "2"]}, "training.layers: expected int"),
        ({"epochs": 1, "inner": {"scale": [1]}}, r"training\.inner\.scale: expected 2 values, got 1"),
        ({"epochs": 1, "inner": {"scales": []}}, r"setting of training\.inner 'scales'; did you mean 'scale'"),
        ({"epochs": 1, "inner": 3}, r"training\.inner: expected a mapping"),
        ({}, "training: .*epochs"),
        ({"epochs": -1}, "training: expected epochs of at least 0, got -1"),
        ([1], "training: expected a mapping of settings"),
    ],
)
def test_refuses_what_it_does_not_know(mapping: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config.build(Outer, mapping, "training")
    assert "\n" not in str(caught.value)


def test_plain_gives_json_types() -> None:
    assert config.plain(Outer(1, layers=(2,), anything={1: Path("a/b")})) == {
        "epochs": 1, "lr": 0.1, "clip": None, "optimizer": "adamw", "layers": [2], "cache": True,
        "inner": {"scale": [0.5, 1.0]}, "anything": {"1": "a/b"},
    }  # fmt: skip


def test_plain_refuses_objects_whose_text_changes_from_run_to_run() -> None:
    with pytest.raises(TypeError, match="JSON types"):
        config.plain({"loss": object()})


def test_digest_depends_on_values_not_on_their_order_or_container() -> None:
    digest = config.digest({"a": 1, "b": (1, 2)})
    assert digest == config.digest({"b": [1, 2], "a": 1})
    assert digest != config.digest({"b": [2, 1], "a": 1})
    assert len(digest) == 16
    assert int(digest, 16) >= 0


def test_digest_is_the_published_function() -> None:
    # SHA-256 of '{"a":1}', which no release may change: records keep digests.
    assert config.digest({"a": 1}) == "015abd7f5cc57a2d"


def test_digest_refuses_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        config.digest({"lr": float("nan")})
