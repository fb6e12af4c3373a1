"""Pre-training of the embedded CLIP: ``python -m fer_core.embedded.pretrain --seed 0 --out weights/``.

Two phases over rendered faces (``pool.py``). *Dense*: a small ViT stays at chance if it has nothing but pairs to
learn from, so its projected tokens first regress what the renderer knows (``dense.py``). *Contrastive*: picture and
caption are matched with CLIP's loss (Radford et al., 2021), captions being worded anew in every epoch
(``faces/captions.py``). The dense targets stay on at a small weight. A run that is killed goes on from its last epoch
when it is started again, and ends with the same weights. On two cores it takes an hour or two, on a GPU minutes.
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip.loss import ClipLoss
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from fer_core import atomic, cli_common, clip, embedded, experiments, hardware
from fer_core.config import build, digest
from fer_core.embedded.dense import DenseHeads, sine_positions, targets
from fer_core.embedded.pool import EMOTIONS, SHARD, Pool, pool
from fer_core.engine import autocast, checkpoints
from fer_core.errors import UserError
from fer_core.faces import captions, sets
from fer_core.folders import cache_folder

PHASES = ("dense", "contrastive")


@dataclass(frozen=True)
class Pretraining:
    """Settings of a pre-training run.

    Args:
        shards: Shards of 4,096 faces in the pool.
        dense_epochs: Passes over the pool in the dense phase.
        contrastive_epochs: Passes over the pool in the contrastive phase.
        dense_batch: Faces a step in the dense phase.
        contrastive_batch: Pairs a step in the contrastive phase.
        dense_lr: Peak learning rate of the dense phase.
        image_lr: Peak learning rate of the image tower in the contrastive phase.
        text_lr: Peak learning rate of the text tower.
        dense_weight: Weight of the dense targets in the contrastive phase.
        weight_decay: Of matrices; vectors and scalars have none.
        bf16: Whether to compute in bfloat16 where that is safe.
        habits: How its captions are worded. Of those that name an emotion which has a look-alike, 28 % name the right
            one alone (with the emotions that have none, 64 % of all do): with more the model tells look-alikes apart by
            words, and is no CLIP that the papers could help.
    """

    shards: int = 20
    dense_epochs: int = 4
    contrastive_epochs: int = 4
    dense_batch: int = 128
    contrastive_batch: int = 256
    dense_lr: float = 1e-3
    image_lr: float = 5e-4
    text_lr: float = 1e-3
    dense_weight: float = 0.25
    weight_decay: float = 0.05
    bf16: bool = True
    habits: captions.Habits = field(default_factory=lambda: captions.Habits(open_choice=0.46, swapped=0.26))

    def __post_init__(self) -> None:
        for name in ("shards", "dense_batch", "contrastive_batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected at least 1, got {getattr(self, name)}; choose a positive number")
        for name in ("dense_batch", "contrastive_batch"):
            if getattr(self, name) > self.shards * SHARD:  # an epoch would have no step
                faces = f"{self.shards * SHARD}, the faces of the pool"
                raise UserError(f"{name}: expected at most {faces}, got {getattr(self, name)}; take more shards")


class Run:
    """One pre-training run: model, heads, optimiser and where it stands.

    Args:
        settings: Of the run.
        seed: Of everything that is drawn.
        out: Folder for checkpoints, weights and the model card.
        device: "cpu" or "cuda".
        compiled: Whether the image tower and its heads run through ``torch.compile``.
        start: Weights of an earlier version to go on from; None for random ones.

    Raises:
        UserError: If ``out`` holds another run's checkpoint, or a damaged one.
    """

    def __init__(
        self, settings: Pretraining, seed: int, out: Path, device: str, compiled: bool = False, start: str | None = None
    ) -> None:
        self.settings, self.seed, self.out, self.device = settings, seed, out, torch.device(device)
        self.clip = clip.load(f"embedded:{start or 'random'}", device=device, seed=seed)
        self.model = self.clip.model
        if start is None:
            positions = 0.3 * sine_positions(*self.clip.patch_grid, self.clip.visual_width)
            self.model.visual.positional_embedding.data.copy_(positions)
        self.start = None if start is None else {"weights": self.clip.weights, **_card_of(Path(start))}
        self.model.requires_grad_(True)
        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = DenseHeads(self.clip.embed_dim).to(self.device)
        self.phase, self.epoch, self.seconds, self.log = PHASES[0], 0, 0.0, []
        mean, std = (
            torch.tensor(value, device=self.device)[:, None, None] for value in (self.clip.mean, self.clip.std)
        )
        self.normalise = lambda image: (image.to(self.device).float() / 255.0 - mean) / std
        self._see = torch.compile(self._seen, dynamic=False) if compiled else self._seen
        self.optimizer = self._optimizer()
        self._restore()

    # --- checkpoints

    @property
    def _digest(self) -> str:
        """Of all that decides the weights: a checkpoint of anything else is refused."""
        architecture = embedded.config()["model_cfg"]
        return digest([self.settings, self.seed, self.start, sets.GENERATOR_VERSION, architecture])

    def _restore(self) -> None:
        """Goes on where a killed run stopped."""
        path = self.out / "checkpoint.safetensors"
        if not path.is_file():
            return
        try:
            groups, state = checkpoints.read(path, self.device)
        except UserError as error:
            raise UserError(f"{error}; delete it to start anew") from error
        if state.get("digest") != self._digest:
            raise UserError(
                f"{self.out}: expected this run's checkpoint or none, got another run's checkpoint; choose another "
                "--out or empty it"
            )
        self.model.load_state_dict(groups["model"])
        self.heads.load_state_dict(groups["heads"])
        self.phase, self.epoch, self.seconds, self.log = (state[key] for key in ("phase", "epoch", "seconds", "log"))
        self.optimizer = self._optimizer()
        checkpoints.load_optimizer(self.optimizer, groups.get("optimizer", {}))

    def _save(self) -> None:
        """At an epoch's end: weights, the optimiser's moments, and where the run stands."""
        state = {"digest": self._digest, "phase": self.phase, "epoch": self.epoch}
        state |= {"seconds": self.seconds, "log": self.log}
        groups = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": checkpoints.optimizer_tensors(self.optimizer),
        }
        checkpoints.write(self.out / "checkpoint.safetensors", groups, state)

    # --- phases

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW over what the phase trains; ``peak`` of a group is its learning rate at the schedule's top."""
        groups: list[tuple[list[nn.Parameter], float]]
        if self.phase == "dense":
            groups = [([*self.model.visual.parameters(), *self.heads.parameters()], self.settings.dense_lr)]
        else:
            seen = [*self.model.visual.parameters(), *self.heads.parameters()]
            known = {id(parameter) for parameter in seen}
            words = [parameter for parameter in self.model.parameters() if id(parameter) not in known]
            groups = [(seen, self.settings.image_lr), (words, self.settings.text_lr)]
        parameters = []
        for members, lr in groups:
            for decays in (True, False):
                chosen = [p for p in members if (p.dim() > 1) == decays]
                decay = self.settings.weight_decay if decays else 0.0
                parameters.append({"params": chosen, "lr": lr, "weight_decay": decay, "peak": lr})
        return torch.optim.AdamW(parameters, betas=(0.9, 0.98), fused=True)

    def train(self, faces: Pool) -> None:
        """Runs what is left of both phases, epoch by epoch.

        Raises:
            UserError: If the loss is not finite.
        """
        while True:
            epochs = getattr(self.settings, f"{self.phase}_epochs")
            while self.epoch < epochs:
                self._epoch(faces, epochs)
                self._save()
            if self.phase == PHASES[-1]:
                return
            self.phase, self.epoch = PHASES[PHASES.index(self.phase) + 1], 0
            self.optimizer = self._optimizer()

    def _epoch(self, faces: Pool, epochs: int) -> None:
        """One pass over the pool; all that it draws follows from seed, phase and epoch."""
        batch = getattr(self.settings, f"{self.phase}_batch")
        per_epoch = len(faces.label) // batch
        total, warm = epochs * per_epoch, max(1, min(300, epochs * per_epoch // 10))
        drawn = self.seed * 1000 + self.epoch + 500 * PHASES.index(self.phase)
        generator = torch.Generator().manual_seed(drawn)
        order = torch.randperm(len(faces.label), generator=generator)
        texts = self._texts(faces) if self.phase == "contrastive" else None
        started, losses = time.perf_counter(), []
        for place in range(per_epoch):
            step = self.epoch * per_epoch + place
            rows = order[place * batch : (place + 1) * batch]
            share = min(1.0, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * step / total))
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * max(share, 1e-3)
            loss = self._loss(faces, rows, texts, generator)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise UserError(
                    f"expected a finite loss, got {losses[-1]} in step {step} of the {self.phase} phase; lower its "
                    "learning rate, or set bf16=false"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 1.0)
            self.optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(0.0, math.log(100.0))
            if (step + 1) % 50 == 0:
                rate = len(losses) * batch / (time.perf_counter() - started)
                recent = sum(losses[-50:]) / len(losses[-50:])
                print(f"{self.phase} step {step + 1}/{total}  loss {recent:.3f}  {rate:.0f} faces/s", flush=True)
        self.epoch += 1
        self.seconds += time.perf_counter() - started
        self.log.append({"phase": self.phase, "epoch": self.epoch, "loss": sum(losses) / len(losses)})

    def _texts(self, faces: Pool) -> list[str]:
        """Captions of the whole pool, worded anew for each epoch."""
        emotions = [EMOTIONS[row] for row in faces.label.tolist()]
        drawn, habits = self.seed * 1000 + self.epoch, self.settings.habits
        return captions.captions(faces.people, faces.scenes, faces.units, emotions, drawn, habits)

    def _seen(self, image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Class tokens ``(B, D)`` and the dense loss."""
        features = self.clip.encode_image(image)
        return features.class_token, self.heads(features, target)

    def _loss(self, faces: Pool, rows: Tensor, texts: list[str] | None, generator: torch.Generator) -> Tensor:
        image = self.normalise(_jitter(faces.image[rows], generator))
        with autocast(self.device, "bf16" if self.settings.bf16 else "fp32"):
            pictures, dense = self._see(image, targets(faces, rows, self.device))
            if texts is None:
                return dense
            words = self.clip.encode_text([texts[row] for row in rows.tolist()])
        pictures, words = (functional.normalize(part.float(), dim=-1) for part in (pictures, words))
        return ClipLoss()(pictures, words, self.model.logit_scale.exp()) + self.settings.dense_weight * dense


def _jitter(image: Tensor, generator: torch.Generator) -> Tensor:
    """Random brightness and contrast, one draw a face."""
    image = image.float()
    level = image.mean((1, 2, 3), keepdim=True)
    contrast, shift = torch.rand(2, len(image), 1, 1, 1, generator=generator)
    return ((image - level) * (0.8 + 0.4 * contrast) + level + 24.0 * (shift - 0.5)).clamp(0, 255)


def _card_of(weights: Path) -> dict[str, Any]:
    """The model card that lies beside weights, so that a chain of runs stays known to its end."""
    path = weights.parent / "model_card.json"
    return {"card": json.loads(path.read_text())} if path.is_file() else {}


def finish(run: Run) -> Path:
    """Writes the weights in half precision and the model card; returns the weights' path."""
    half = {key: value.detach().cpu().half().contiguous() for key, value in run.model.state_dict().items()}
    half.pop("attn_mask", None)
    path = run.out / "weights.safetensors"
    with atomic.replacing(path) as temporary:
        save_file(half, temporary)
    card = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "seed": run.seed, "start": run.start,
        "settings": asdict(run.settings),
        "faces": run.settings.shards * SHARD, "generator": sets.GENERATOR_VERSION, "seconds": round(run.seconds),
        "device": run.device.type, "torch": torch.__version__, "log": run.log,
    }  # fmt: skip
    (run.out / "model_card.json").write_text(json.dumps(card, indent=2) + "\n")
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; a user's mistake ends it with one line and exit code 2.

    Args:
        argv: Arguments; the process's own by default.
    """
    with cli_common.mistakes_told("pretrain"):
        _main(argv)


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(description="Pre-train the embedded CLIP on rendered faces.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, weights and the model card")
    parser.add_argument("--device", default="cpu", help="auto, cpu (default), cuda, cuda:1, mps")
    parser.add_argument("--compile", action="store_true", help="render and train through torch.compile")
    parser.add_argument("--start", metavar="FILE", help="weights of an earlier version to go on from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Pretraining")
    arguments = parser.parse_args(argv)
    settings = build(Pretraining, experiments.parse_overrides(arguments.set), "pre-training")
    device = str(hardware.device(arguments.device))
    report = lambda done, of: print(f"rendered {done}/{of} shards", flush=True)  # noqa: E731
    size = embedded.config()["model_cfg"]["vision_cfg"]["image_size"]
    # Another run's checkpoint is refused before anything is rendered.
    run = Run(settings, arguments.seed, arguments.out, device, arguments.compile, arguments.start)
    run.train(pool(arguments.seed, settings.shards, size, cache_folder(), device, arguments.compile, report))
    print(finish(run))


if __name__ == "__main__":
    main()
