"""The models that run inside pages: ONNX graphs and their runtime, as scripts that a page opened as a file may load.

Each script leaves its content, compressed and in base64, under its name in ``window.ferLive``. Nothing of it is under
version control.
"""

import base64
import gzip
import shutil
import tempfile
from pathlib import Path

from book import stamps
from book.alone import alone
from book.layout import Layout
from fer_core import clip, config
from fer_core.widgets import studio_graphs

_MARKER = "made"
_RUNTIME = "onnxruntime-web/dist"
# The smallest build that computes on the processor: source text and binary.
_PARTS = {"runtime": "ort.wasm.bundle.min.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}


def are_there(layout: Layout) -> bool:
    """Whether graphs and runtime lie in ``book/assets/live`` as :func:`write` would make them now."""
    marker = _folder(layout) / _MARKER
    return marker.is_file() and marker.read_text(encoding="utf-8") == _key()


def write(layout: Layout) -> None:
    """Puts graphs and runtime into ``book/assets/live``, unless they are there already.

    Args:
        layout: The book; its browser files must have been fetched.

    Raises:
        UserError: If a method is not there as it was trained, or its graph says something else.
    """
    key, folder = _key(), _folder(layout)
    with alone(layout):
        if are_there(layout):  # another process was faster
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tower = clip.load("embedded")
        with tempfile.TemporaryDirectory() as made:
            for name in studio_graphs.write(Path(made), tower, studio_graphs.trained_methods(tower)):
                _script(folder, name, Path(made) / f"{name}.onnx")
        for name, file in _PARTS.items():
            _script(folder, name, layout.root / "book" / "node_modules" / _RUNTIME / file)
        (folder / _MARKER).write_text(key, encoding="utf-8")  # last: what was interrupted is made again


def _folder(layout: Layout) -> Path:
    return layout.root / "book" / "assets" / "live"


def _key() -> str:
    """A digest of everything that the graphs and the runtime are made from."""
    project = Path(__file__).resolve().parents[1]
    files = [Path(__file__), *(project / "book" / "models").rglob("*.safetensors"), project / "book/package-lock.json"]
    return config.digest([stamps.library_digest(), stamps.packages(), stamps.digest_files(files, project)])


def _script(folder: Path, name: str, file: Path) -> None:
    packed = base64.b64encode(gzip.compress(file.read_bytes(), mtime=0)).decode()
    (folder / f"{name}.js").write_text(f'(window.ferLive ??= {{}})["{name}"] = "{packed}";\n', encoding="utf-8")
