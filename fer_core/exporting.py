"""Trained methods as ONNX, for programs without Python and for pages without a kernel.

The graph takes pixels in 0..1 and gives probabilities and features, so that nothing of a method's preprocessing but the
resizing is left to its user. What is written is run once by ONNX Runtime and held against PyTorch.
"""

import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_core import models
from fer_core.atomic import replacing
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.predicting import Model

OPSET = 18
#: How far probabilities may be from PyTorch's, with weights in full and in half precision.
TOLERANCE, TOLERANCE_OF_HALF = 1e-4, 2e-2
_TRIED = 3  # samples of the check: not the number that the graph was traced with


class Graph(nn.Module):
    """A method as a function of pixels alone.

    Args:
        method: In evaluation mode.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, method: models.Method) -> None:
        super().__init__()
        self.method = method
        for name, values in (("mean", method.clip.mean), ("std", method.clip.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1).to(method.clip.device))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities ``(B, C)`` and features ``(B, D)`` of pixels ``(B, 3, S, S)``, of clips ``(B, T, 3, S, S)``."""
        count = image.new_zeros(image.shape[0], dtype=torch.int64)
        output = self.method(Batch(image=(image - self.mean) / self.std, label=count, index=count))
        return output.logits.float().softmax(1), output.features.float()


def export(model: Model, path: Path, *, frames: int | None = None, half: bool = False) -> dict[str, Any]:
    """Writes a method as ONNX, whole or not at all.

    The number of samples is free; the side of a picture is the CLIP's, and the number of frames is fixed.

    Args:
        model: On the CPU.
        path: The file.
        frames: None for photographs, else how many frames a clip has.
        half: Whether weights are kept in half precision; ONNX Runtime computes in single precision all the same.

    Returns:
        ``path``, ``bytes``, ``inputs``, ``classes`` and ``difference``, the largest of probabilities to PyTorch's.

    Raises:
        UserError: If the packages for it are missing, the method cannot be exported, the file cannot be written, or
            its answers differ by more than :data:`TOLERANCE` (of half precision :data:`TOLERANCE_OF_HALF`).
    """
    onnx, runtime = _packages()
    if frames is not None and frames < 1:
        raise UserError(f"frames: expected at least 1, got {frames}; raise it, or leave it out for photographs")
    graph = Graph(model.method).eval()
    side = model.method.clip.image_size
    shape = (3, side, side) if frames is None else (frames, 3, side, side)
    made = _traced(graph, torch.rand(2, *shape))
    proto = _folded(onnx, runtime, made.model_proto)
    if half:
        _halve(onnx, proto)
    told = {"classes": json.dumps(model.method.classes), "image_size": str(side), "pixels": "RGB in 0..1"}
    for key, value in {**told, **{key: str(value) for key, value in model.told.items()}}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content = proto.SerializeToString()
    tried = torch.rand(_TRIED, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = graph(tried)[0].numpy()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    said = session.run(["probabilities"], {"image": tried.numpy()})[0]
    difference = float(np.abs(said - wanted).max())
    most = TOLERANCE_OF_HALF if half else TOLERANCE
    if not difference <= most:
        raise UserError(
            f"{path}: expected probabilities within {most:g} of PyTorch's, got {difference:.1e}; "
            + ("export in full precision" if half else "nothing was written: please report this")
        )
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error}); choose another place") from error
    return {
        "path": str(path), "bytes": len(content), "inputs": ["B", *shape], "classes": list(model.method.classes),
        "difference": difference,
    }  # fmt: skip


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise UserError(
            f"export: expected the packages onnx, onnxscript and onnxruntime, got no {error.name}; "
            "pip install 'fer-core[export]'"
        ) from error
    return onnx, onnxruntime


def _traced(graph: Graph, image: Tensor) -> Any:
    """The graph as torch's exporter makes it, quiet: its notes are about its own insides."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                graph, (image,), dynamo=True, opset_version=OPSET, input_names=["image"], external_data=False,
                output_names=["probabilities", "features"], dynamic_shapes={"image": {0: torch.export.Dim("B")}},
                verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise UserError(
            f"export: expected a method that torch can export, {graph.method.name} is none "
            f"({str(error).splitlines()[0]}); choose another method"
        ) from error
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
    assert made is not None
    return made


def _folded(onnx: Any, runtime: Any, proto: Any) -> Any:
    """The graph with everything computed that no pixel changes: prompts have gone through the text tower for good.

    By ONNX Runtime's basic level, which leaves standard operators only; torch's exporter folds no LayerNorm.
    """
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(options.optimized_model_filepath)
    for node in folded.graph.node:  # where in whose files each came from
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    folded.graph.ClearField("metadata_props")
    used = {node.domain for node in folded.graph.node}
    kept = [each for each in folded.opset_import if each.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    return folded


def _halve(onnx: Any, proto: Any) -> None:
    """Keeps large fp32 weights in half precision, each cast back where it is used."""
    casts = []
    for weight in proto.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < 256:
            continue
        name = weight.name
        values = onnx.numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for place, node in enumerate(casts):
        proto.graph.node.insert(place, node)
