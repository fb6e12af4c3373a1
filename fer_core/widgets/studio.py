"""The action-unit studio: sliders move a face's muscles, and methods say at once what they see.

In a built book it runs without a kernel: the graphs of :mod:`fer_core.widgets.studio_graphs` lie beside the page as
ONNX. In JupyterLab the same functions run in the kernel.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets

from fer_core import exporting, models
from fer_core.clip import Clip
from fer_core.faces import ACTION_UNITS, CODES, expressions, identity
from fer_core.plots import look
from fer_core.widgets import studio_graphs as graphs

_FOLDER = Path(__file__).parent
_PEOPLE = 6  # beside the average person


class ActionUnitStudio(anywidget.AnyWidget):
    """The widget's state; :func:`studio` fills it.

    Attributes:
        units: For each action unit ``code``, ``name``, ``region`` and ``phrase``.
        view: For each number of a view ``name`` and ``range`` (least, greatest, usual).
        people: Names of the people.
        persons: ``(people, P)`` float32 as bytes, as ``studio_graphs.person_numbers`` gives them.
        expressions: Names of the presets.
        presets: ``(expressions, A)`` float32 as bytes.
        classes: C class names.
        colors: C colours, as ``#rrggbb``.
        methods: For each method its ``name``, the ``graph`` that tells its probabilities, and its ``row`` there.
        graphs: Names of the graphs, in the order in which they are loaded.
        points: ``(N, 2)`` float32 as bytes: held-out faces on the map.
        labels: ``(N,)`` uint8 as bytes.
        first: What is shown before the first touch: the picture, fits, place, and probabilities of each graph.
        title: What the map is of, for those who cannot see it.
    """

    _esm = _FOLDER / "studio.js"
    _css = _FOLDER / "studio.css"
    units = traitlets.List().tag(sync=True)
    view = traitlets.List().tag(sync=True)
    people = traitlets.List(traitlets.Unicode()).tag(sync=True)
    persons = traitlets.Bytes(b"").tag(sync=True)
    expressions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    presets = traitlets.Bytes(b"").tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    methods = traitlets.List().tag(sync=True)
    graphs = traitlets.List(traitlets.Unicode()).tag(sync=True)
    points = traitlets.Bytes(b"").tag(sync=True)
    labels = traitlets.Bytes(b"").tag(sync=True)
    first = traitlets.List(traitlets.Bytes()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)


def people() -> tuple[list[str], identity.Identity]:
    """The average person and some others, each with a name and the resting face of their own."""
    drawn = identity.sample(_PEOPLE, torch.Generator().manual_seed(4))
    average = identity.average(1)
    both = identity.Identity(
        **{
            name: torch.cat([getattr(average, name), getattr(drawn, name)])
            for name in identity.Identity.__annotations__
        }
    )
    rests = [identity.RESTING_FACES[place][0] for place in drawn.resting_face.tolist()]
    return ["average", *(f"{letter}, {rest} at rest" for letter, rest in zip("ABCDEF", rests, strict=True))], both


def studio(tower: Clip, kept: Mapping[str, models.Method]) -> ActionUnitStudio:
    """The studio.

    Args:
        tower: The embedded CLIP, on the CPU.
        kept: Trained methods of the same classes by name; zero-shot CLIP is added.
    """
    world = graphs.landscape(tower)
    shared, own = graphs.split(tower, kept)
    functions: dict[str, torch.nn.Module] = {"seen": graphs.Seen(tower, list(shared.values()), world).eval()}
    functions |= {name: exporting.Graph(method).eval() for name, method in own.items()}
    drawing = graphs.Drawing()
    names, persons = people()
    numbers = graphs.person_numbers(persons)
    classes = next(iter(shared.values())).classes
    presets = expressions.prototypes(tuple(classes))
    usual = torch.tensor([start for _, _, start in graphs.VIEW.values()])

    @torch.no_grad()
    def told(units: torch.Tensor, person: torch.Tensor, view: torch.Tensor) -> list[bytes]:
        image = drawing(units[None], person[None], view[None])
        probabilities, fits, place = functions["seen"](image)
        rest = [functions[name](image)[0] for name in own]
        return [each.numpy().astype("<f4").tobytes() for each in (image, fits, place, probabilities, *rest)]

    def asked(widget: ActionUnitStudio, content: dict[str, Any], buffers: Any) -> None:
        """A slider was moved where a kernel is at hand; views know their own answers by the request's number."""
        number = content["request"]
        try:
            found = told(*(torch.tensor(content[name], dtype=torch.float32) for name in ("units", "person", "view")))
        except Exception as error:
            widget.send({"request": number, "error": str(error)})  # the page shows it; a kernel's log nobody sees
            return
        widget.send({"request": number, "graphs": ["seen", *own]}, found)

    made = ActionUnitStudio(
        units=[{"code": u.code, "name": u.name, "region": u.region, "phrase": u.phrase} for u in ACTION_UNITS],
        view=[{"name": name, "range": list(values)} for name, values in graphs.VIEW.items()],
        people=names,
        persons=numbers.numpy().astype("<f4").tobytes(),
        expressions=list(classes),
        presets=presets.numpy().astype("<f4").tobytes(),
        classes=list(classes),
        colors=[look(name, at)[0] for at, name in enumerate(classes)],
        methods=[
            *({"name": name, "graph": "seen", "row": row} for row, name in enumerate(shared)),
            *({"name": name, "graph": name, "row": 0} for name in own),
        ],
        graphs=["drawing", *functions],
        points=world.points.tobytes(),
        labels=world.labels.astype(np.uint8).tobytes(),
        first=told(torch.zeros(len(CODES)), numbers[0], usual),
        title="Map of held-out faces by the frozen CLIP, classes apart; a ring marks the face that is drawn.",
    )
    made.on_msg(asked)
    return made
