"""Every chapter runs from its first cell to its last, with the smallest profile."""

from pathlib import Path

import papermill
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.book
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_runs(source, tmp_path):
    papermill.execute_notebook(
        source, tmp_path / source.name, parameters={"profile": "smoke"}, kernel_name="python3", cwd=source.parent,
        progress_bar=False, start_timeout=300, execution_timeout=1800,
    )  # fmt: skip
