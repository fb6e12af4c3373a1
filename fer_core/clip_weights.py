"""From a model's name to an open_clip model with its weights; package-private, see :mod:`fer_core.clip`."""

import hashlib
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from safetensors import SafetensorError
from torch import Tensor, nn

from fer_core import embedded
from fer_core.errors import UserError, unknown

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
# What reading a broken, empty or foreign file raises.
UNREADABLE = (
    *(OSError, RuntimeError, ValueError, AttributeError, EOFError, StopIteration),
    *(pickle.UnpicklingError, SafetensorError),
)
# Keys of open_clip configs that ask for a tower or a tokenizer other than open_clip's own.
FOREIGN = ("custom_text", "multimodal_cfg", "timm_model_name", "hf_model_name", "hf_tokenizer_name")


@dataclass(frozen=True)
class Source:
    """A model that a name stands for.

    Args:
        name: ``NAME:TAG`` in full, as records keep it.
        config: Arguments of ``open_clip.CLIP``.
        mean: Per-channel mean of the pixels, in 0..1.
        std: Per-channel deviation of the pixels, in 0..1.
        path: The weights file; None for random weights.
    """

    name: str
    config: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    path: Path | None


def _plain(config: dict[str, Any]) -> bool:
    """Whether a config describes open_clip's own ViT, text transformer and tokenizer."""
    vision = config["vision_cfg"]
    keys = {*config, *vision, *config["text_cfg"]}
    return keys.isdisjoint(FOREIGN) and isinstance(vision.get("layers", 12), int)


def names() -> list[str]:
    """Architectures that :func:`resolve` knows: the embedded one and open_clip's plain ViTs."""
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    return ["embedded", *(name for name, config in configs.items() if config and _plain(config))]


def _as_file(name: str, tag: str, surely: bool) -> Path | None:
    """The local file that a tag stands for; None if it isn't one, and need not be."""
    path = Path(tag).expanduser()
    if not surely and path.suffix not in SUFFIXES and path.name == tag:
        return None
    if not path.is_file() or path.suffix not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        found = "a path that is none" if path.exists() else "a path where nothing is"
        raise UserError(f"expected a weights file ({kinds}) for {name}, got {found}: {tag}; check the path")
    return path


def _fetched(name: str, tag: str) -> tuple[str, str]:
    """TAG and FILE of a pretrained tag whose file was fetched by hand, ``TAG@FILE``; no tag where it is none."""
    known, _, file = tag.partition("@")
    tags = open_clip.list_pretrained_tags_by_model(name.removesuffix("-quickgelu"))
    return (known, file) if file and known in tags else ("", tag)


def portable(spec: str) -> str:
    """A CLIP's name without the folder of its weights file, as records have it: what it is on every machine."""
    name, colon, tag = spec.partition(":")
    name = name.replace("/", "-")
    known, file = _fetched(name, tag)
    return f"{name}{colon}{known or Path(file).name}"


def resolve(spec: str) -> Source:
    """Finds what a name stands for, downloading if need be; the forms are those of :func:`fer_core.clip.load`.

    Raises:
        UserError: For an unknown name or tag, an architecture without a class token, a quick-GELU mismatch, a
            missing file, or a failed download.
    """
    name, _, tag = spec.partition(":")
    name = name.replace("/", "-")
    if name == "embedded":
        layout = embedded.config()
        config, pixels = layout["model_cfg"], layout["preprocess_cfg"]
    else:
        config, pixels = open_clip.get_model_config(name), {}
        if config is None:
            raise unknown("CLIP model", name, names())
        if not _plain(config):
            raise UserError(
                f"expected a CLIP of open_clip's own ViT, text tower and tokenizer, but {name} has others; "
                "choose a plain ViT such as ViT-B-16-quickgelu:openai"
            )
    path = None
    if name == "embedded" and not tag:
        path = embedded.weights()
    elif not tag:
        raise UserError(f"expected {name}:WEIGHTS, got no weights; add a pretrained tag, a file, or 'random'")
    elif tag != "random":
        known, file = _fetched(name, tag)
        path = _as_file(name, file, surely=bool(known))
        if known or not path:
            pixels = _pretrained(name, known or tag, bool(config.get("quick_gelu")))
        if not path:
            path = _download(spec, pixels)
    mean, std = pixels.get("mean", open_clip.OPENAI_DATASET_MEAN), pixels.get("std", open_clip.OPENAI_DATASET_STD)
    return Source(portable(spec), config, tuple(mean), tuple(std), path)


def _pretrained(name: str, tag: str, quick_gelu: bool) -> dict[str, Any]:
    """open_clip's entry for a pretrained tag, if it was trained with the activation that the name has."""
    # open_clip lists only quick-GELU tags under its -quickgelu names; look under the plain name as well, so that
    # every wrong pairing gets the error that names the right one.
    base = name.removesuffix("-quickgelu")
    entry = open_clip.get_pretrained_cfg(name, tag) or open_clip.get_pretrained_cfg(base, tag)
    if not entry:
        raise unknown(f"weights of {name}", tag, [*open_clip.list_pretrained_tags_by_model(base), "random"])
    trained_with = bool(entry.get("quick_gelu"))
    if trained_with != quick_gelu:
        right = f"{base}-quickgelu" if trained_with else base
        raise UserError(
            f"{name}:{tag} pairs weights trained with {'QuickGELU' if trained_with else 'GELU'} and a model that has "
            f"{'QuickGELU' if quick_gelu else 'GELU'}; use {right}:{tag}"
        )
    return entry


def _download(spec: str, entry: dict[str, Any]) -> Path:
    """The weights file of a pretrained tag, from the local cache or the network, if it is whole."""
    try:
        path = Path(open_clip.download_pretrained(entry))
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"expected to download the weights of {spec}, got {type(error).__name__}; connect to the network, or "
            f"fetch the file elsewhere and pass {spec}@FILE.safetensors"
        ) from error
    # The hub's client checks sizes alone, but its cache links to a file by the SHA-256 that the hub states.
    stated = path.readlink().name if path.is_symlink() else ""
    if re.fullmatch("[0-9a-f]{64}", stated):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != stated:
            raise UserError(
                f"expected weights of {spec} with SHA-256 {stated[:16]}… as the hub states, got {found[:16]}…; remove "
                f"{path.resolve()} and run again"
            )
    return path


def build(source: Source, seed: int) -> open_clip.CLIP:
    """The model with its weights in fp32; without a weights file, random ones that ``seed`` fixes.

    Raises:
        UserError: If the weights file cannot be read or does not fit the architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**source.config)
    if source.path is not None:
        _fill(model, source.path, source.name.partition(":")[0])
    return model


def _fill(model: nn.Module, path: Path, name: str) -> None:
    """Loads a state dict that must match in every name and shape: open_clip's loader would resize positions."""
    try:
        state: Any = load_state_dict(str(path), weights_only=True)
    except UNREADABLE as error:
        raise UserError(
            f"expected a state dict of tensors in {path.name}, but it could not be read ({type(error).__name__}); "
            "fetch it again, or save its state dict as safetensors"
        ) from error
    wanted = model.state_dict()
    for key, tensor in wanted.items():
        if key not in state:
            raise UserError(f"expected {key} of {name} in {path.name}, found none; pass weights of this architecture")
        if odd := _odd(state[key]):
            raise UserError(f"expected finite real numbers in {key} of {path.name}, got {odd}; save it again")
        if key == "logit_scale" and state[key].numel() == 1:
            state[key] = state[key].reshape(tensor.shape)
        if state[key].shape != tensor.shape:
            raise UserError(
                f"expected {key} of shape {tuple(tensor.shape)} for {name}, got {tuple(state[key].shape)} in "
                f"{path.name}; pass weights of this architecture"
            )
    if extra := sorted(state.keys() - wanted.keys()):
        raise UserError(
            f"expected only {name}'s tensors in {path.name}, got {extra[0]} too; pass weights of this architecture"
        )
    model.load_state_dict(state)


def _odd(value: Any) -> str | None:
    """What a value of a state dict is that no weight is."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.layout != torch.strided or not value.is_floating_point():
        return f"{value.layout} {value.dtype}".removeprefix("torch.strided ")
    return None if value.isfinite().all() else "some that are not finite"


def fingerprint(state: dict[str, Tensor]) -> str:
    """SHA-256 of a state dict's names, types, shapes and bytes, its first 16 hex digits."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
