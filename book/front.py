"""The picture of the front page: one person's expressions, and what CLIP calls them before and after training."""

from collections.abc import Sequence

from book.layout import Layout
from fer_core import comparing, plots_faces
from fer_core.errors import UserError
from fer_core.faces import expressions, sets

_SET = "facs-still-8"
_METHODS = {"zero-shot CLIP": "zero-shot", "LES-CLIP": "les-clip"}


def write(layout: Layout) -> None:
    """Writes ``book/_generated/front.png`` and ``front.md``, which ``book/index.md`` takes in.

    What a method calls a face is read from the record of its first seed.

    Args:
        layout: The book, with its records.

    Raises:
        UserError: If a method has no record that counts.
    """
    classes = sets.SETS[_SET].classes
    # The test split shows one expression after the other, person by person.
    faces = sets.load(_SET, "test", limit=len(classes))
    truth = [classes[int(label)] for label in faces.label]
    told = {title: _told(layout, method, classes, len(truth)) for title, method in _METHODS.items()}
    layout.generated.mkdir(parents=True, exist_ok=True)
    plots_faces.answers(faces.image, truth, told).savefig(layout.generated / "front.png", dpi=150)
    (layout.generated / "front.md").write_text(_page(truth, told), encoding="utf-8")


def _told(layout: Layout, method: str, classes: Sequence[str], count: int) -> list[str]:
    experiment = f"{method}-{_SET}"
    found = comparing.current(experiment, folder=layout.root / "book" / "records")
    if not found or found[0].predictions is None:
        raise UserError(f"expected a record of {experiment} that counts; fer-core run {experiment} --profile full")
    return [classes[int(number)] for number in found[0].predictions["predicted"][:count]]


def _page(truth: Sequence[str], told: dict[str, list[str]]) -> str:
    right = [f"{method} names {sum(map(str.__eq__, names, truth))}" for method, names in told.items()]
    wrong = [{name, shown} for name, shown in zip(told[next(iter(told))], truth, strict=True) if name != shown]
    alike = sum(pair in map(set, expressions.LOOK_ALIKES) for pair in wrong)
    each = "; ".join(
        f"{shown}, which {' and '.join(f'{method} calls {names[place]}' for method, names in told.items())}"
        for place, shown in enumerate(truth)
    )
    return (
        f"```{{figure}} _generated/front.png\n---\nwidth: 100%\n"
        f"alt: 'One rendered person with {len(truth)} expressions: {each}.'\n---\n"
        f"The first person of the test faces. Of {len(truth)} expressions {' and '.join(right)} right; "
        f"{alike} of CLIP's {len(wrong)} errors fall on a look-alike. This is *semantic entanglement*, which the "
        "papers set out to undo.\n```\n"
    )
