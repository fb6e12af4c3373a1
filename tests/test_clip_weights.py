"""Names, weights files and the embedded folder."""

import hashlib
import json
import shutil
from functools import partial

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from fer_core import clip_weights, embedded
from fer_core.clip import Clip, load
from fer_core.errors import UserError


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The embedded architecture with random weights."""
    return load("embedded:random")


# Names


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ViT-B-16:openai", "use ViT-B-16-quickgelu:openai"),
        ("ViT-L/14:openai", "use ViT-L-14-quickgelu:openai"),
        ("ViT-B-32-quickgelu:laion2b_s34b_b79k", "use ViT-B-32:laion2b_s34b_b79k"),
        ("ViT-B-16-quickgelu:opneai", "did you mean 'openai'"),
        ("ViT-B-16", "expected ViT-B-16:WEIGHTS"),
        ("embeded", "did you mean 'embedded'"),
        ("embedded:openai", "unknown weights of embedded"),
        ("ViT-B-17:random", "unknown CLIP model"),
        ("RN50:random", "but RN50 has others"),
        ("coca_ViT-B-32:random", "but coca_ViT-B-32 has others"),
        ("ViT-B-16-SigLIP:random", "but ViT-B-16-SigLIP has others"),
        ("roberta-ViT-B-32:random", "but roberta-ViT-B-32 has others"),
        ("embedded:no/such/file.safetensors", "a path where nothing is: no/such/file.safetensors"),
        ("embedded:README.md/x", "expected a weights file"),
    ],
)
def test_names_that_do_not_fit_say_what_would(spec, message):
    with pytest.raises(UserError, match=message) as error:
        load(spec)
    assert "\n" not in str(error.value)


def test_of_the_two_names_of_an_architecture_exactly_one_takes_each_tag():
    """open_clip itself only warns of a wrong pairing."""
    known = clip_weights.names()
    pairs = {(name.removesuffix("-quickgelu"), tag) for name, tag in open_clip.list_pretrained() if name in known}
    assert len(pairs) > 50
    for base, tag in pairs:
        accepted = 0
        for quick_gelu in (False, True):
            name = f"{base}-quickgelu" if quick_gelu else base
            other = base if quick_gelu else f"{base}-quickgelu"
            entry = open_clip.get_pretrained_cfg(base, tag)
            if bool(entry.get("quick_gelu")) == quick_gelu:
                assert clip_weights._pretrained(name, tag, quick_gelu) == entry
                accepted += open_clip.get_model_config(name) is not None
                continue
            with pytest.raises(UserError, match=f"use {other}:{tag}$"):
                clip_weights._pretrained(name, tag, quick_gelu)
        assert accepted == 1, (base, tag)


# Files


def test_a_local_file_gives_its_weights_in_fp32(clip, tmp_path):
    half = {name: tensor.half() for name, tensor in clip.model.state_dict().items()}
    path = tmp_path / "own.safetensors"
    save_file(half, path)
    loaded = load(f"embedded:{path}", seed=9)
    assert loaded.name == "embedded:own.safetensors", "no folder of this machine in a record"
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, half[name].float())
    torch.save({"state_dict": half}, tmp_path / "own.pt")
    assert load(f"embedded:{tmp_path / 'own.pt'}").weights == loaded.weights != clip.weights


def test_files_that_do_not_fit_are_told_in_one_line(clip, tmp_path):
    full = dict(clip.model.state_dict())
    cases = {
        "no visual.proj": {name: tensor for name, tensor in full.items() if name != "visual.proj"},
        "shape": {**full, "visual.proj": torch.zeros(160, 64)},
        "more": {**full, "visual.more": torch.zeros(1)},
    }
    for index, (_, content) in enumerate(cases.items()):
        save_file({name: tensor.clone() for name, tensor in content.items()}, tmp_path / f"{index}.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "0.safetensors").read_bytes()[:1000])
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({}, tmp_path / "nothing.pt")
    torch.save(torch.zeros(2), tmp_path / "tensor.pt")
    scale = {
        "float.pt": 4.6,
        "two.pt": torch.ones(2),
        "whole.pt": torch.tensor(5),
        "complex.pt": torch.tensor(1 + 2j),
        "nan.pt": torch.tensor(torch.nan),
    }
    for name, value in scale.items():
        torch.save({**full, "logit_scale": value}, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no weights")
    messages = {
        "0.safetensors": "expected visual.proj of embedded .* found none",
        "1.safetensors": r"shape \(160, 128\) .* got \(160, 64\)",
        "2.safetensors": "got visual.more too",
        "cut.safetensors": "could not be read",
        "empty.pt": "could not be read",
        "nothing.pt": "could not be read",
        "tensor.pt": "could not be read",
        "notes.txt": "a path that is none",
        "float.pt": "expected finite real numbers in logit_scale of float.pt, got a float",
        "two.pt": r"expected logit_scale of shape \(\) for embedded, got \(2,\)",
        "whole.pt": r"got torch.int64; save it again",
        "complex.pt": r"got torch.complex64",
        "nan.pt": "got some that are not finite",
    }
    for file, message in messages.items():
        with pytest.raises(UserError, match=message) as error:
            load(f"embedded:{tmp_path / file}")
        assert "\n" not in str(error.value)


class Malicious:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_with_code_is_refused(tmp_path, capsys):
    torch.save({"visual.proj": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="could not be read"):
        load(f"embedded:{tmp_path / 'bad.pt'}")
    assert "run" not in capsys.readouterr().out


def test_a_pretrained_tag_is_downloaded_and_brings_its_pixel_statistics(monkeypatch, tmp_path):
    weights = load("ViT-S-32:random", seed=4).model.state_dict()
    save_file(dict(weights), tmp_path / "hub.safetensors")
    entry = {"hf_hub": "somewhere/", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: entry if tag == "tag" else {})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda cfg: str(tmp_path / "hub.safetensors"))
    loaded = load("ViT-S-32:tag")
    assert (loaded.name, loaded.mean, loaded.std) == ("ViT-S-32:tag", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert loaded.weights == clip_weights.fingerprint(weights)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's cache with one model, no network, and the file in it."""
    weights = load("ViT-S-32:random", seed=4).model.state_dict()
    model = tmp_path / "models--some--where"
    for folder in ("blobs", "refs", "snapshots/0123456789012345678901234567890123456789"):
        (model / folder).mkdir(parents=True)
    save_file(dict(weights), tmp_path / "file")
    blob = model / "blobs" / hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()
    (tmp_path / "file").rename(blob)
    (model / "refs/main").write_text("0123456789012345678901234567890123456789")
    link = model / "snapshots/0123456789012345678901234567890123456789/open_clip_model.safetensors"
    link.symlink_to(f"../../blobs/{blob.name}")
    entry = {"hf_hub": "some/where/"}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: entry if tag == "tag" else {})
    monkeypatch.setattr(
        open_clip, "download_pretrained", partial(open_clip.download_pretrained, cache_dir=str(tmp_path))
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return blob


def test_weights_in_the_hubs_cache_need_no_network(hub):
    assert load("ViT-S-32:tag").weights == load("ViT-S-32:random", seed=4).weights


def test_weights_that_changed_in_the_hubs_cache_are_refused(hub):
    content = bytearray(hub.read_bytes())
    content[-1] ^= 1  # as many bytes as before
    hub.write_bytes(content)
    message = rf"SHA-256 {hub.name[:16]}… as the hub states, got [0-9a-f]{{16}}…; remove {hub} and run again"
    with pytest.raises(UserError, match=message):
        clip_weights.resolve("ViT-S-32:tag")


def test_a_tags_file_fetched_by_hand_is_loaded_as_the_tag(tmp_path):
    weights = load("ViT-S-32:random", seed=4).model.state_dict()
    file = tmp_path / "at@home.safetensors"
    save_file(dict(weights), file)
    tag = "ViT-L-14:laion2b_s32b_b82k"  # the one whose pixels are normalised in another way
    source = clip_weights.resolve(f"{tag}@{file}")
    assert (source.name, source.path) == (tag, file)
    assert (source.mean, source.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert clip_weights.portable(f"{tag}@{file}") == tag
    bare = clip_weights.resolve(f"ViT-L-14:{file}")
    assert (bare.name, bare.mean) == ("ViT-L-14:at@home.safetensors", open_clip.OPENAI_DATASET_MEAN)
    with pytest.raises(UserError, match="use ViT-B-16-quickgelu:openai"):  # the activation is the tag's, too
        clip_weights.resolve(f"ViT-B-16:openai@{file}")
    for absent in ("weights", str(tmp_path / "none.pt")):
        with pytest.raises(UserError, match=r"expected a weights file .*, got a path where nothing is"):
            clip_weights.resolve(f"{tag}@{absent}")


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(entry):
        raise FileNotFoundError("no network\nat all")

    monkeypatch.setattr(open_clip, "download_pretrained", fail)
    message = r"got FileNotFoundError; connect .* pass ViT-B-32:laion2b_s34b_b79k@FILE\.safetensors"
    with pytest.raises(UserError, match=message) as error:
        load("ViT-B-32:laion2b_s34b_b79k")
    assert "\n" not in str(error.value)


def test_fingerprint_tells_names_types_shapes_and_values_apart():
    base = {"a": torch.zeros(4), "b": torch.ones(2)}
    digest = clip_weights.fingerprint(base)
    assert clip_weights.fingerprint(dict(reversed(base.items()))) == digest
    others = [
        {"a": torch.zeros(4), "c": torch.ones(2)},
        {**base, "a": torch.zeros(2, 2)},
        {**base, "a": torch.zeros(8, dtype=torch.float16)},
        {**base, "b": torch.tensor([1.0, 2.0])},
    ]
    assert len({digest, *map(clip_weights.fingerprint, others)}) == 5


# The embedded folder


@pytest.fixture
def folder(clip, tmp_path):
    """An embedded folder as pre-training leaves it."""
    shutil.copy(embedded.FOLDER / "config.json", tmp_path)
    save_file(
        {name: tensor.half() for name, tensor in clip.model.state_dict().items()}, tmp_path / "weights.safetensors"
    )
    digest = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    (tmp_path / "model_card.json").write_text(json.dumps({"sha256": digest}))
    return tmp_path


def test_the_embedded_model_loads_from_its_folder(folder, clip, monkeypatch):
    monkeypatch.setattr(embedded, "config", lambda read=embedded.config: read(folder))
    monkeypatch.setattr(embedded, "weights", lambda read=embedded.weights: read(folder))
    loaded = load("embedded")
    assert loaded.name == "embedded"
    expected = clip.model.visual.proj.half().float()
    assert torch.equal(loaded.model.visual.proj, expected)


def test_embedded_weights_that_are_missing_or_changed(folder):
    path = folder / "weights.safetensors"
    assert embedded.weights(folder) == path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="as in its model card"):
        embedded.weights(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"weights.safetensors .* found none; .*embedded:random"):
        embedded.weights(folder)
