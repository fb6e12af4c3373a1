"""Exported methods say what PyTorch says, for any number of pictures, and nothing of the text tower is left in them."""

import json

import numpy as np
import pytest
import torch
from tiny import stirred, tiny_clip
from torch.torch_version import TorchVersion

from fer_core import cli, exporting, models
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.faces import PARSING
from fer_core.predicting import Model

onnx = pytest.importorskip("onnx", reason="needs the extra export")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")
pytestmark = pytest.mark.skipif(torch.__version__ < TorchVersion("2.9"), reason="export needs torch 2.9")

CLASSES = ("neutral", "fear", "surprise")
STILLS = ("zero-shot", "cocoop", "lora", "maple", "promptsrc", "les-clip", "mpa-fer")
CLIPS = ("clip-au", "dfer-clip", "aim", "st-adapter")


def built(name, **settings):
    torch.manual_seed(0)
    method = models.build(name, tiny_clip(layers=2), CLASSES, settings)
    return Model(stirred(method), 4, {"model": name, "experiment": "own"})


def reference(method, image, **maps):
    """Probabilities and features of pixels in 0..1, by the method itself."""
    count = torch.zeros(len(image), dtype=torch.int64)
    batch = Batch((image - 0.5) / 0.25, count, count, **maps)  # the tiny CLIP's colours
    with torch.no_grad():
        output = method(batch)
        return output.logits.softmax(1).numpy(), output.features.numpy()


def said(path, image, **maps):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in ({"image": image} | maps).items()})


def maps_of(method, image, seed):
    """Parsing maps and landmarks of nobody, for a method that looks at them."""
    generator, samples = torch.Generator().manual_seed(seed), image.shape[:-3]
    parsing = torch.randint(len(PARSING), (*samples, *image.shape[-2:]), generator=generator, dtype=torch.uint8)
    drawn = {"parsing": parsing, "landmarks": torch.rand(*samples, 68, 2, generator=generator)}
    return {name: drawn[name] for name in method.maps}


def agrees(model, report, path, frames):
    """Whether the file says what the method says, of one sample and of several."""
    for count in (1, 5):
        shape = (count, 3, 32, 32) if frames is None else (count, frames, 3, 32, 32)
        image = torch.rand(*shape, generator=torch.Generator().manual_seed(count))
        maps = maps_of(model.method, image, count)
        probabilities, features = said(path, image, **maps)
        expected, own = reference(model.method, image, **maps)
        assert np.abs(probabilities - expected).max() < 1e-5
        assert probabilities.sum(1) == pytest.approx(np.ones(count), abs=1e-5)
        np.testing.assert_allclose(features, own, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4  # else any graph would pass
    assert report["difference"] < 1e-5
    assert report["bytes"] == path.stat().st_size


@pytest.mark.parametrize(("name", "frames"), [*((name, None) for name in STILLS), *((name, 4) for name in CLIPS)])
def test_the_same_probabilities(name, frames, tmp_path):
    model = built(name)
    report = exporting.export(model, tmp_path / "m.onnx", frames=frames)
    agrees(model, report, tmp_path / "m.onnx", frames)


def test_maps_are_inputs_and_are_listened_to(tmp_path):
    model = built("fine-cliper")
    report = exporting.export(model, tmp_path / "m.onnx", frames=2)
    agrees(model, report, tmp_path / "m.onnx", 2)
    assert report["inputs"]["parsing"] == ["B", 2, 32, 32]
    assert report["inputs"]["landmarks"] == ["B", 2, 68, 2]
    image = torch.rand(2, 2, 3, 32, 32)
    one, other = (maps_of(model.method, image, seed) for seed in (1, 2))
    asked = [
        said(tmp_path / "m.onnx", image, **maps)
        for maps in (one, other, *(one | {name: other[name]} for name in ("parsing", "landmarks")))
    ]
    for first in range(len(asked)):
        for second in range(first):
            assert np.abs(asked[first][0] - asked[second][0]).max() > 1e-5


def test_what_no_graph_can_have_is_told(tmp_path):
    with pytest.raises(UserError, match="got none of descriptions"):
        exporting.export(built("fine-cliper", streams=("frames", "descriptions")), tmp_path / "m.onnx", frames=2)

    class Asking(torch.nn.Module):
        def forward(self, image):
            return image if image.sum() > 1e9 else 2 * image

    image = torch.rand(2, 3)
    with pytest.raises(UserError, match="expected a method that torch can export, Asking is none") as told:
        exporting.save(Asking(), {"image": image}, {"image": image}, ("twice",), tmp_path / "m.onnx", facts={})
    assert "\x1b" not in str(told.value)
    assert "\n" not in str(told.value)
    assert "data-dependent" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_an_old_torch_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.0"))
    with pytest.raises(UserError, match=r"export: expected torch 2.9 or newer, got 2.8.0; update torch"):
        exporting.export(built("zero-shot"), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_texts_are_encoded_for_good_and_facts_travel_along(tmp_path):
    exporting.export(built("coop"), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(graph, full_check=True)
    vocabulary = 49408
    assert all(vocabulary not in each.dims for each in graph.graph.initializer)
    assert b".py" not in (tmp_path / "m.onnx").read_bytes()  # nor in whose files a node was made
    assert {node.domain for node in graph.graph.node} == {""}
    assert [each.domain for each in graph.opset_import] == [""]
    weights = sum(int(np.prod(each.dims)) for each in graph.graph.initializer)
    assert weights < 1.1 * sum(each.numel() for each in tiny_clip(layers=2).model.visual.parameters()) + 1000
    facts = {each.key: each.value for each in graph.metadata_props}
    assert json.loads(facts["classes"]) == list(CLASSES)
    assert facts["experiment"] == "own"
    assert (facts["image_size"], facts["pixels"]) == ("32", "RGB in 0..1")


def test_half_precision_halves_the_file(tmp_path):
    model = built("lora")
    whole = exporting.export(model, tmp_path / "whole.onnx")
    half = exporting.export(model, tmp_path / "half.onnx", half=True)
    assert half["bytes"] < 0.75 * whole["bytes"]
    assert 1e-7 < half["difference"] < 5e-3
    image = torch.rand(2, 3, 32, 32)
    assert np.abs(said(tmp_path / "half.onnx", image)[0] - reference(model.method, image)[0]).max() < 5e-3


def test_a_graph_that_says_something_else_is_not_written(tmp_path, monkeypatch):
    real = exporting._folded

    def disturbed(*arguments):
        graph = real(*arguments)
        weight = max(graph.graph.initializer, key=lambda each: np.prod(each.dims))
        weight.CopyFrom(onnx.numpy_helper.from_array(1.5 * onnx.numpy_helper.to_array(weight), weight.name))
        return graph

    monkeypatch.setattr(exporting, "_folded", disturbed)
    with pytest.raises(UserError, match=r"expected probabilities, features within 0\.0001 of PyTorch's"):
        exporting.export(built("zero-shot"), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"got no onnxscript; pip install 'fer-core\[export\]'"):
        exporting.export(built("zero-shot"), tmp_path / "m.onnx")


def test_the_command(tmp_path, capsys):
    path = tmp_path / "m.onnx"
    assert cli.main(["export", str(path), "--model", "les-clip-facs-still-8", "--json"]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert [line.partition(":")[0] for line in told.err.splitlines()] == [f"export, {n} of 3" for n in (1, 2, 3)]
    assert report["inputs"] == {"image": ["B", 3, 64, 64]}
    assert report["difference"] < 1e-5
    assert path.stat().st_size == report["bytes"]
    assert cli.main(["export", str(tmp_path / "m.pt")]) == cli.MISTAKE
    assert "expected a file that ends with .onnx" in capsys.readouterr().err
    assert cli.main(["export", str(path), "--frames", "0"]) == cli.MISTAKE
    assert "frames: expected at least 1, got 0" in capsys.readouterr().err
    assert cli.main(["export", str(path / "m.onnx")]) == cli.MISTAKE
    assert "cannot write" in capsys.readouterr().err
