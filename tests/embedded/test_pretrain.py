import json
import subprocess
import sys

import pytest
import torch

from fer_core import clip
from fer_core.embedded import pool, pretrain
from fer_core.errors import UserError
from fer_core.faces import CODES, PARSING, sets


@pytest.fixture
def small(monkeypatch):
    """Shards of a few faces."""
    monkeypatch.setattr(pool, "SHARD", 32)
    monkeypatch.setattr(pretrain, "SHARD", 32)


def test_pool_is_aligned_and_kept(small, tmp_path):
    faces = pool.pool(0, 2, 64, tmp_path)
    assert faces.image.shape == (64, 3, 64, 64)
    assert faces.units.shape == (64, len(CODES))
    assert faces.regions.shape == (64, 64, len(PARSING))
    # Shares of a patch sum to one, up to rounding of each class.
    assert (faces.regions.float().sum(-1) - 255).abs().max() <= len(PARSING)
    assert len(faces.people) == len(faces.scenes) == 64
    kept = sorted((tmp_path / "pool").iterdir())
    stamps = [path.stat().st_mtime_ns for path in kept]
    again = pool.pool(0, 2, 64, tmp_path)
    assert torch.equal(faces.image, again.image)
    assert [path.stat().st_mtime_ns for path in kept] == stamps


def test_pool_shares_nobody_with_any_named_set(small, tmp_path):
    faces = pool.pool(0, 1, 64, tmp_path)
    seen = {tuple(row) for row in faces.people.form.tolist()}
    for name in sets.names():
        for split in sets.SPLITS:
            assert not seen & {tuple(row) for row in sets.draw(name, split).people.form.tolist()}


def test_seeds_draw_different_pools(small, tmp_path):
    first, second = (pool.pool(seed, 1, 64, tmp_path) for seed in (0, 1))
    assert not torch.equal(first.units, second.units)


def test_sine_positions_tell_rows_and_columns_apart():
    positions = pretrain.sine_positions(8, 8, 160)
    assert positions.shape == (65, 160)
    assert positions[0].abs().sum() == 0
    likeness = (
        torch.nn.functional.normalize(positions[1:], dim=1) @ torch.nn.functional.normalize(positions[1:], dim=1).T
    )
    assert (likeness.fill_diagonal_(0) < 0.999).all()


def run(out, cache, *more):
    """A whole run in another process, on shards of 32 faces."""
    code = (
        "import sys; from fer_core.embedded import pool, pretrain; pool.SHARD = pretrain.SHARD = 32;"
        "sys.argv = ['pretrain', *sys.argv[1:]]; pretrain.main()"
    )
    small = ["shards=2", "dense_epochs=1", "contrastive_epochs=1", "dense_batch=32", "contrastive_batch=32"]
    arguments = [part for setting in small for part in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-c", code, "--out", str(out), *arguments, *more],
        env={**__import__("os").environ, "FER_CACHE": str(cache)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_run_leaves_weights_that_load_and_a_card_that_matches(tmp_path):
    made = run(tmp_path / "out", tmp_path / "cache")
    assert made.returncode == 0, made.stderr
    tower = clip.load(f"embedded:{tmp_path / 'out' / 'weights.safetensors'}")
    assert tower.embed_dim == 128
    card = json.loads((tmp_path / "out" / "model_card.json").read_text())
    assert card["faces"] == 64
    assert [row["phase"] for row in card["log"]] == ["dense", "contrastive"]
    # A finished run has nothing left to do and changes nothing.
    again = run(tmp_path / "out", tmp_path / "cache")
    assert again.returncode == 0
    assert json.loads((tmp_path / "out" / "model_card.json").read_text())["sha256"] == card["sha256"]
    other = run(tmp_path / "out", tmp_path / "cache", "--seed", "1")
    assert other.returncode != 0
    assert "another run's checkpoint" in other.stderr


def test_settings_are_checked():
    with pytest.raises(ValueError, match="shards: expected at least 1, got 0"):
        pretrain.Pretraining(shards=0)
    with pytest.raises(UserError, match="did you mean 'shards'"):
        pretrain.build(pretrain.Pretraining, {"shard": 1}, "pre-training")
