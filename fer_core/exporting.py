"""Trained methods as ONNX, for programs without Python and for pages without a kernel.

The graph takes pixels in 0..1 and gives probabilities and features, so that nothing of a method's preprocessing but the
resizing is left to its user. What is written is run once by ONNX Runtime and held against PyTorch.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from fer_core import models
from fer_core.atomic import replacing
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.faces import PARSING
from fer_core.predicting import Model

Stage = Callable[[str], None]

OPSET = 18
#: How far probabilities may be from PyTorch's, with weights in full and in half precision.
TOLERANCE, TOLERANCE_OF_HALF = 1e-4, 2e-2
_LARGE = 256  # numbers; below that a cast is not worth its node
_TRIED = 3  # samples of the check: not the number that the graph was traced with


def _silent(text: str) -> None:
    """Tells nobody."""


class Pixels(nn.Module):
    """Pixels in 0..1 as the batch that methods take.

    Args:
        tower: Whose pixel values they are normalised for.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, tower: Clip) -> None:
        super().__init__()
        for name, values in (("mean", tower.mean), ("std", tower.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1).to(tower.device))

    def forward(self, image: Tensor) -> Batch:
        """The batch of pixels ``(B, 3, S, S)``, of clips ``(B, T, 3, S, S)``; its labels are zeros."""
        zeros = image.new_zeros(image.shape[0], dtype=torch.int64)
        return Batch(image=(image - self.mean) / self.std, label=zeros, index=zeros)


class Graph(nn.Module):
    """A method as a function of pixels alone.

    Args:
        method: In evaluation mode.
    """

    def __init__(self, method: models.Method) -> None:
        super().__init__()
        self.method = method
        self.pixels = Pixels(method.clip)

    def forward(
        self, image: Tensor, parsing: Tensor | None = None, landmarks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Probabilities ``(B, C)`` and features ``(B, D)``.

        Args:
            image: Pixels ``(B, 3, S, S)`` in 0..1, of clips ``(B, T, 3, S, S)``.
            parsing: As of :class:`fer_core.batch.Batch`, for methods that look at it.
            landmarks: As of :class:`fer_core.batch.Batch`, for methods that look at them.
        """
        batch = self.pixels(image)
        batch.parsing, batch.landmarks = parsing, landmarks
        output = self.method(batch)
        return output.logits.float().softmax(1), output.features.float()


def export(
    model: Model, path: Path, *, frames: int | None = None, half: bool = False, stage: Stage = _silent
) -> dict[str, Any]:
    """Writes a method as ONNX, whole or not at all.

    The number of samples is free; the side of a picture is the CLIP's, and the number of frames is fixed. Parsing maps
    and landmarks are inputs of their own where the method refuses samples without them.

    Args:
        model: On the CPU.
        path: The file.
        frames: None for photographs, else how many frames a clip has.
        half: As of :func:`save`.
        stage: As of :func:`save`.

    Returns:
        As :func:`save`, with ``inputs`` (shapes by name) and ``classes``.

    Raises:
        UserError: As :func:`save`; or if there are no frames, or the method needs more than pictures and maps.
    """
    if frames is not None and frames < 1:
        raise UserError(f"frames: expected at least 1, got {frames}; raise it, or leave it out for photographs")
    method, side = model.method, model.method.clip.image_size
    first, second = (_example(method, count, frames) for count in (2, _TRIED))
    classes = list(method.classes)
    facts = {"classes": json.dumps(classes), "image_size": side, "pixels": "RGB in 0..1", **model.told}
    report = save(
        Graph(method).eval(), first, second, ("probabilities", "features"), path, facts=facts, half=half, stage=stage
    )
    inputs = {name: ["B", *value.shape[1:]] for name, value in first.items()}
    return {**report, "inputs": inputs, "classes": classes}


def _example(method: models.Method, count: int, frames: int | None) -> dict[str, Tensor]:
    """Samples of noise, and of the maps that the method asks for."""
    generator, side = torch.Generator().manual_seed(0), method.clip.image_size
    clips = (count,) if frames is None else (count, frames)
    made = {"image": torch.rand(*clips, 3, side, side, generator=generator)}
    maps = {
        "parsing": torch.randint(len(PARSING), (*clips, side, side), generator=generator, dtype=torch.uint8),
        "landmarks": torch.rand(*clips, 68, 2, generator=generator),
    }
    return made | {name: maps[name] for name in method.maps if method.needs_maps}


def save(
    graph: nn.Module,
    example: Mapping[str, Tensor],
    tried: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    *,
    facts: Mapping[str, Any],
    half: bool = False,
    simplify: bool = True,
    stage: Stage = _silent,
) -> dict[str, Any]:
    """Writes a module as ONNX, whole or not at all, once ONNX Runtime has given PyTorch's answers.

    Weights that half precision holds exactly are kept in it. The runtime computes in single precision all the same.

    Args:
        graph: On the CPU, in evaluation mode.
        example: Arguments of the module by name that the graph is traced with. Where ``tried`` has another number of
            samples, that number is free.
        tried: Arguments that answers are compared for.
        outputs: Names of what the module gives.
        path: The file.
        facts: What the file says of itself.
        half: Whether all large weights are kept in half precision.
        simplify: Whether onnxscript simplifies the graph first, which is needed to fold attention away, and takes
            minutes where there are thousands of small steps.
        stage: Called with what begins, as the longest stage may take minutes.

    Returns:
        ``path``, ``bytes`` and ``difference``, the largest of an answer to PyTorch's.

    Raises:
        UserError: If the packages for it are missing or torch is older than 2.9, the module refuses the arguments or
            cannot be exported, the file cannot be written, or answers differ by more than :data:`TOLERANCE` (with
            ``half`` :data:`TOLERANCE_OF_HALF`).
    """
    onnx, runtime = _packages()
    stage("1 of 3: PyTorch traces the method")
    with torch.no_grad():  # before it is traced: what the module refuses, it tells best itself
        made = graph(**tried)
    traced = _traced(graph, example, tried, outputs, simplify)
    stage("2 of 3: ONNX Runtime computes what no input changes")
    proto = _folded(onnx, runtime, traced)
    _halve(onnx, proto, exactly=not half)
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, str(value)
    content = proto.SerializeToString()
    stage("3 of 3: answers are compared with PyTorch's")
    wanted = [each.numpy() for each in (made if isinstance(made, tuple) else (made,))]
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    said = session.run(list(outputs), {name: value.numpy() for name, value in tried.items()})
    difference = max(float(np.abs(one - other).max()) for one, other in zip(said, wanted, strict=True))
    most = TOLERANCE_OF_HALF if half else TOLERANCE
    if not difference <= most:
        raise UserError(
            f"{path}: expected {', '.join(outputs)} within {most:g} of PyTorch's, got {difference:.1e}; "
            + ("export in full precision" if half else "nothing was written: please report this")
        )
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error}); choose another place") from error
    return {"path": str(path), "bytes": len(content), "difference": difference}


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
    # 2.6 and 2.7 refuse a free number of samples, 2.8 takes one branch for all inputs.
    if torch.__version__ < TorchVersion("2.9"):
        raise UserError(f"export: expected torch 2.9 or newer, got {torch.__version__}; update torch")
    return onnx, onnxruntime


def _traced(
    graph: nn.Module,
    example: Mapping[str, Tensor],
    tried: Mapping[str, Tensor],
    outputs: Sequence[str],
    simplify: bool,
) -> Any:
    """The graph as torch's exporter makes it, quiet: its notes are about its own insides."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [each.level for each in loggers]
    samples = torch.export.Dim("B", min=2)  # a graph for one sample would be special; ONNX runs one all the same
    free = {name: {0: samples} if len(tried[name]) != len(value) else None for name, value in example.items()}
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                graph, kwargs=dict(example), dynamo=True, opset_version=OPSET, input_names=list(example),
                output_names=list(outputs), dynamic_shapes=free, external_data=False, optimize=simplify, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        name = getattr(getattr(graph, "method", graph), "name", type(graph).__name__)
        raise UserError(
            f"export: expected a method that torch can export, {name} is none ({_cause(error)}); choose another method"
        ) from error
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
    assert made is not None
    return made.model_proto


def _cause(error: BaseException) -> str:
    """One line of what stopped torch's exporter, whose own error tells of its stages."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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


def _halve(onnx: Any, proto: Any, exactly: bool) -> None:
    """Keeps large weights in half precision, each cast back where it is used; ``exactly``: those that lose nothing."""
    casts = []
    for weight in proto.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < _LARGE:
            continue
        name, values = weight.name, onnx.numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if exactly and not np.array_equal(halves.astype(np.float32), values):
            continue
        weight.CopyFrom(onnx.numpy_helper.from_array(halves, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for place, node in enumerate(casts):
        proto.graph.node.insert(place, node)
