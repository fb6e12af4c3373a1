"""Pre-training of the embedded CLIP: ``python -m fer_core.embedded.pretrain --seed 0 --out weights/``.

Two phases over rendered faces (``pool.py``). *Dense*: a small ViT stays at chance if it has nothing but pairs to
learn from, so its projected tokens first regress what the renderer knows (action units, landmarks, view, traits;
parsing shares of each patch). *Contrastive*: picture and caption are matched with CLIP's loss (Radford et al., 2021),
captions being worded anew in every epoch (``faces/captions.py``). The dense targets stay on at a small weight. The
run can be killed and started again: it goes on from its last checkpoint. On two cores it takes about an hour, on a
GPU minutes.
"""

import argparse
import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from open_clip.loss import ClipLoss
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fer_core import clip, embedded
from fer_core.config import build, digest
from fer_core.embedded.pool import EMOTIONS, SHARD, TRAIT_SIZES, Pool, pool
from fer_core.faces import CODES, PARSING, captions, sets
from fer_core.folders import cache_folder


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

    def __post_init__(self) -> None:
        for name in ("shards", "dense_batch", "contrastive_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class DenseHeads(nn.Module):
    """Linear read-outs of what the renderer knows, on the projected tokens.

    Args:
        width: Width ``D`` of the joint space.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.units = nn.Linear(width, len(CODES))
        self.points = nn.Linear(width, 136)
        self.view = nn.Linear(width, 8)
        self.looks = nn.Linear(width, 2)
        self.traits = nn.Linear(width, sum(TRAIT_SIZES))
        self.regions = nn.Linear(width, len(PARSING))

    def forward(self, class_token: Tensor, patch_tokens: Tensor, target: dict[str, Tensor]) -> Tensor:
        """The dense loss of a batch; its parts are scaled to about 1 at the start."""
        squared = lambda head, name, scale: scale * functional.mse_loss(head(class_token).float(), target[name])  # noqa: E731
        loss = squared(self.units, "units", 25.0) + squared(self.points, "points", 60.0)
        loss = loss + squared(self.view, "view", 6.0) + squared(self.looks, "looks", 4.0)
        start = 0
        logits = self.traits(class_token).float()
        for column, size in enumerate(TRAIT_SIZES):
            part = logits[:, start : start + size]
            loss = loss + 0.15 * functional.cross_entropy(part, target["traits"][:, column])
            start += size
        shares = functional.log_softmax(self.regions(patch_tokens).float(), -1)
        return loss - (target["regions"] * shares).sum(-1).mean()


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """``(1 + rows * columns, width)`` two-dimensional sine-cosine positions, zeros for the class token."""
    frequency = 1.0 / 100.0 ** (torch.arange(width // 4) / (width // 4))
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequency for place in (down.float(), across.float())]
    grid = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)
    return torch.cat([torch.zeros(1, grid.shape[1]), grid])[:, :width]


def _targets(shard: Pool, rows: Tensor, device: torch.device) -> dict[str, Tensor]:
    return {
        "units": shard.units[rows].to(device),
        "points": (shard.landmarks[rows].flatten(1) - 0.5).to(device),
        "view": shard.view[rows].to(device),
        "looks": shard.looks[rows].to(device),
        "traits": shard.traits[rows].to(device),
        "regions": shard.regions[rows].to(device).float() / 255.0,
    }


class Run:
    """One pre-training run: model, heads, optimiser and where it stands.

    Args:
        settings: Of the run.
        seed: Of everything that is drawn.
        out: Folder for checkpoints, weights and the model card.
        device: "cpu" or "cuda".
    """

    def __init__(self, settings: Pretraining, seed: int, out: Path, device: str) -> None:
        self.settings, self.seed, self.out, self.device = settings, seed, out, torch.device(device)
        torch.manual_seed(seed)
        self.clip = clip.load("embedded:random", device=device, seed=seed)
        self.model = self.clip.model
        visual = self.model.visual
        with torch.no_grad():
            visual.positional_embedding.copy_(0.3 * sine_positions(*self.clip.patch_grid, self.clip.visual_width))
        self.model.requires_grad_(True)
        self.model.train()
        self.heads = DenseHeads(self.clip.embed_dim).to(self.device)
        self.phase, self.epoch, self.seconds, self.log = "dense", 0, 0.0, []
        mean, std = (
            torch.tensor(value, device=self.device)[:, None, None] for value in (self.clip.mean, self.clip.std)
        )
        self.normalise = lambda image: (image.to(self.device).float() / 255.0 - mean) / std
        self.restore()

    # --- checkpoints

    def restore(self) -> None:
        """Goes on where a killed run stopped."""
        path = self.out / "checkpoint.safetensors"
        if not path.is_file():
            return
        tensors = load_file(path)
        state = json.loads((self.out / "checkpoint.json").read_text())
        if state["digest"] != digest([self.settings, self.seed]):
            raise SystemExit(f"{self.out} holds another run's checkpoint; choose another --out or empty it")
        self.model.load_state_dict({key[6:]: value for key, value in tensors.items() if key.startswith("model.")})
        self.heads.load_state_dict({key[6:]: value for key, value in tensors.items() if key.startswith("heads.")})
        self.phase, self.epoch, self.seconds, self.log = (state[key] for key in ("phase", "epoch", "seconds", "log"))

    def save(self) -> None:
        """Writes a checkpoint at an epoch's end; the optimiser starts warm-free in the next epoch."""
        self.out.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"model.{key}": value.detach().clone().contiguous() for key, value in self.model.state_dict().items()
        }
        tensors |= {f"heads.{key}": value.detach().clone() for key, value in self.heads.state_dict().items()}
        save_file(tensors, self.out / "checkpoint.partial")
        os.replace(self.out / "checkpoint.partial", self.out / "checkpoint.safetensors")
        state = {"digest": digest([self.settings, self.seed]), "phase": self.phase, "epoch": self.epoch}
        state |= {"seconds": self.seconds, "log": self.log}
        (self.out / "checkpoint.json").write_text(json.dumps(state))

    # --- phases

    def _optimizer(self, groups: list[tuple[nn.Module, float]]) -> torch.optim.Optimizer:
        parameters = []
        for module, lr in groups:
            for decays in (True, False):
                chosen = [p for p in module.parameters() if (p.dim() > 1) == decays]
                if chosen:
                    decay = self.settings.weight_decay if decays else 0.0
                    parameters.append({"params": chosen, "lr": lr, "weight_decay": decay, "peak": lr})
        return torch.optim.AdamW(parameters, betas=(0.9, 0.98))

    def train(self, faces: Pool, phase: str, epochs: int, batch: int) -> None:
        """Runs one phase to its end, epoch by epoch."""
        if phase == "dense":
            optimizer = self._optimizer(
                [(self.model.visual, self.settings.dense_lr), (self.heads, self.settings.dense_lr)]
            )
        else:
            text = nn.ModuleList([self.model.transformer, self.model.token_embedding, self.model.ln_final])
            groups = [(self.model.visual, self.settings.image_lr), (self.heads, self.settings.image_lr)]
            optimizer = self._optimizer([*groups, (text, self.settings.text_lr)])
            rest = [self.model.positional_embedding, self.model.text_projection, self.model.logit_scale]
            optimizer.add_param_group(
                {"params": rest, "lr": self.settings.text_lr, "weight_decay": 0.0, "peak": self.settings.text_lr}
            )
        per_epoch = len(faces.label) // batch
        total, warm = epochs * per_epoch, max(1, min(300, epochs * per_epoch // 10))
        step = self.epoch * per_epoch
        while self.epoch < epochs:
            started, losses = time.perf_counter(), []
            generator = torch.Generator().manual_seed(
                self.seed * 1000 + self.epoch + (500 if phase == "contrastive" else 0)
            )
            texts = self._texts(faces, self.epoch) if phase == "contrastive" else None
            order = torch.randperm(len(faces.label), generator=generator)
            for start in range(0, per_epoch * batch, batch):
                rows = order[start : start + batch]
                share = min(1.0, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total)))
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * max(share, 1e-3)
                loss = self._step(faces, rows, None if texts is None else [texts[row] for row in rows.tolist()])
                if not torch.isfinite(loss):
                    raise SystemExit(f"loss became {loss.item()} in step {step} of the {phase} phase")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
                optimizer.step()
                with torch.no_grad():
                    self.model.logit_scale.clamp_(0.0, math.log(100.0))
                losses.append(loss.item())
                step += 1
                if step % 50 == 0:
                    rate = len(losses) * batch / (time.perf_counter() - started)
                    recent = sum(losses[-50:]) / len(losses[-50:])
                    print(f"{phase} step {step}/{total}  loss {recent:.3f}  {rate:.0f} faces/s", flush=True)
            self.epoch += 1
            self.seconds += time.perf_counter() - started
            self.log.append({"phase": phase, "epoch": self.epoch, "loss": sum(losses) / len(losses)})
            self.save()

    def _texts(self, faces: Pool, epoch: int) -> list[str]:
        """Captions of the whole pool, worded anew for each epoch."""
        emotions = [EMOTIONS[row] for row in faces.label.tolist()]
        return captions.captions(faces.people, faces.scenes, faces.units, emotions, self.seed * 1000 + epoch)

    def _step(self, faces: Pool, rows: Tensor, texts: list[str] | None) -> Tensor:
        image = self.normalise(_jitter(faces.image[rows]))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.settings.bf16):
            features = self.clip.encode_image(image)
            dense = self.heads(features.class_token, features.patch_tokens, _targets(faces, rows, self.device))
            if texts is None:
                return dense
            words = self.clip.encode_text(texts)
        pictures = functional.normalize(features.class_token.float(), dim=-1)
        words = functional.normalize(words.float(), dim=-1)
        pair = ClipLoss()(pictures, words, self.model.logit_scale.exp())
        return pair + self.settings.dense_weight * dense


def _jitter(image: Tensor) -> Tensor:
    """Random brightness and contrast, one draw a face."""
    image = image.float()
    level = image.mean((1, 2, 3), keepdim=True)
    contrast = 0.8 + 0.4 * torch.rand(len(image), 1, 1, 1)
    shift = 24.0 * (torch.rand(len(image), 1, 1, 1) - 0.5)
    return ((image - level) * contrast + level + shift).clamp(0, 255)


def finish(run: Run) -> Path:
    """Writes the weights in half precision and the model card; returns the weights' path."""
    half = {key: value.detach().cpu().half().contiguous() for key, value in run.model.state_dict().items()}
    half.pop("attn_mask", None)
    path = run.out / "weights.safetensors"
    save_file(half, run.out / "weights.partial")
    os.replace(run.out / "weights.partial", path)
    card = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "seed": run.seed, "settings": asdict(run.settings),
        "faces": run.settings.shards * SHARD, "generator": sets.GENERATOR_VERSION, "seconds": round(run.seconds),
        "device": run.device.type, "torch": torch.__version__, "log": run.log,
    }  # fmt: skip
    (run.out / "model_card.json").write_text(json.dumps(card, indent=2) + "\n")
    return path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Pre-train the embedded CLIP on rendered faces.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, weights and the model card")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Pretraining")
    arguments = parser.parse_args()
    changed = {key: json.loads(value) for key, _, value in (item.partition("=") for item in arguments.set)}
    settings = build(Pretraining, changed, "pre-training")
    report = lambda done, of: print(f"rendered {done}/{of} shards", flush=True)  # noqa: E731
    size = embedded.config()["model_cfg"]["vision_cfg"]["image_size"]
    faces = pool(arguments.seed, settings.shards, size, cache_folder(), arguments.device, report)
    run = Run(settings, arguments.seed, arguments.out, arguments.device)
    if run.phase == "dense":
        run.train(faces, "dense", settings.dense_epochs, settings.dense_batch)
        run.phase, run.epoch = "contrastive", 0
        run.save()
    run.train(faces, "contrastive", settings.contrastive_epochs, settings.contrastive_batch)
    print(finish(run))


if __name__ == "__main__":
    main()
