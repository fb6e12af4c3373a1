"""The set-up cell of hosted kernels: where it stands, what it does, and that the project's notebooks keep to it."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from book import colab
from book.layout import Layout
from fer_core.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def book(tmp_path):
    """A book of one notebook, whose repository is a folder of this machine."""
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks").mkdir()
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": "book/notebooks/one"}]}
    (tmp_path / "book" / "_toc.yml").write_text(yaml.safe_dump(toc))
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("# One"), nbformat.v4.new_code_cell("import fer_core")]
    nbformat.write(notebook, tmp_path / "notebooks" / "one.ipynb")

    def named(url, branch="main"):
        (tmp_path / "_config.yml").write_text(yaml.safe_dump({"repository": {"url": url, "branch": branch}}))
        return tmp_path

    return named


def codes(root):
    found = nbformat.read(root / "notebooks" / "one.ipynb", as_version=4)
    nbformat.validate(found)
    return [(each.cell_type, each.metadata.get("tags", []), each.source) for each in found.cells]


def test_the_projects_notebooks_have_the_cell_that_its_configuration_asks_for():
    layout = Layout(ROOT)
    code = colab.cell(layout)
    for each in layout.notebooks:
        found = nbformat.read(ROOT / each.source, as_version=4)
        own = [cell.source for cell in found.cells if colab.TAG in cell.metadata.get("tags", [])]
        assert own == ([] if code is None else [code]), f"{each.source}: run python -m book.colab"


def test_the_cell_comes_behind_the_title_and_goes_again(book):
    root = book("https://host/owner/name", "stable")
    before = codes(root)
    assert colab.main(root) == 0
    title, setup, rest = codes(root)
    assert (title, rest) == tuple(before)
    assert setup[1] == ["setup", "remove-cell"]
    assert '"--branch", "stable", "https://host/owner/name"' in setup[2]
    compile(setup[2], "cell", "exec")
    assert colab.main(root) == 0
    assert codes(root) == [title, setup, rest], "a second call writes nothing twice"
    book("")
    assert colab.main(root) == 0
    assert codes(root) == before


def test_the_cell_gets_the_project_and_installs_it_where_it_is_missing(book, tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "notebooks").mkdir(parents=True)
    (source / "notebooks" / "here.txt").write_text("")
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    code = colab.cell(Layout(book(f"file://{source}")))
    # In a kernel without fer_core; pip is not asked, as this test must not reach for a registry.
    kernel = f"""
import importlib.util, subprocess
find, run, asked = importlib.util.find_spec, subprocess.run, []
importlib.util.find_spec = lambda name: None if name == "fer_core" else find(name)
subprocess.run = lambda command, **rest: asked.append(command) if "pip" in command else run(command, **rest)
{code}
import os
print(os.path.exists("here.txt"), asked[0][1:])
"""
    done = subprocess.run([sys.executable, "-c", kernel], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "True ['-m', 'pip', 'install', '--quiet', '--editable', 'fer-book[book]']"


def test_in_a_checkout_the_cell_does_nothing(book, tmp_path):
    code = colab.cell(Layout(book("https://host/owner/name")))
    stop = "import subprocess\nsubprocess.run = None\n"
    subprocess.run([sys.executable, "-c", stop + code], check=True, cwd=ROOT)


@pytest.mark.parametrize("url", ['https://host/"); import os; ("', "https://host/a\nb", "https://host/$(x)"])
def test_an_address_that_would_be_code_is_refused(book, url, capsys):
    root = book(url)
    with pytest.raises(UserError, match=r"repository\.url: expected a plain address"):
        colab.cell(Layout(root))
    assert colab.main(root) == 2
    assert "expected a plain address" in capsys.readouterr().err
