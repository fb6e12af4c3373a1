"""The files that say what to install agree with each other, and `make` installs once."""

import ast
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import fer_core

ROOT = Path(__file__).parents[1]
# What readers of the book are promised, whatever else changes.
PROMISED = (
    "jupyterlab", "jupyter-book", "torch", "open_clip_torch", "matplotlib", "seaborn", "umap-learn", "papermill",
    "ipywidgets",
)  # fmt: skip


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def required(project):
    texts = project["dependencies"] + [text for extra in project["optional-dependencies"].values() for text in extra]
    return {canonicalize_name(Requirement(text).name): Requirement(text) for text in texts}


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]


@pytest.fixture(scope="module")
def pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_conda_environment_has_the_requirements_of_the_project(conda, project, required):
    # Faces in photographs need a large package that sends usage metrics: nobody gets it without asking.
    unasked = {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"]["faces"]}
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    options = [line for line in pip if line.startswith("-")]
    assert options == ["--constraint constraints.txt", "--editable ."]
    assert {str(Requirement(line)) for line in pip if line not in options} == {
        str(each) for name, each in required.items() if name not in unasked
    }


def test_promised_packages_are_required(required):
    assert {canonicalize_name(name) for name in PROMISED} <= set(required)


def test_python_versions_agree(project, conda):
    conda_python = next(SpecifierSet(line.removeprefix("python")) for line in conda if str(line).startswith("python"))
    for minor, supported in ((10, False), (11, True), (12, True), (13, True)):
        assert SpecifierSet(project["requires-python"]).contains(f"3.{minor}.0") == supported
        assert conda_python.contains(f"3.{minor}.0") == supported


def test_every_requirement_is_pinned_to_a_version_that_it_allows(required, pinned):
    for name, requirement in required.items():
        assert name in pinned, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} does not allow {pinned[name]}"


def test_pins_hold_on_every_platform(pinned):
    only_linux = [name for name in pinned if name.startswith(("nvidia-", "cuda-")) or name == "triton"]
    assert only_linux == []
    assert not any(version.local for version in pinned.values()), "a local version such as 2.15.0+cpu is on no index"


def test_every_import_is_required(project):
    extras = project["optional-dependencies"]
    # What jupyter-book and papermill are made of comes with them.
    parts = {"sphinx", "docutils", "sphinx-external-toc", "nbclient"}
    providers = packages_distributions()
    # Clusters and exports are asked for by name, and the error without the extra names it.
    asked = extras["cluster"] + extras["export"]
    for package, texts, besides in (("fer_core", asked, set()), ("book", extras["book"], parts)):
        allowed = {canonicalize_name(Requirement(text).name) for text in project["dependencies"] + texts} | besides
        for module, where in _imports(ROOT / package):
            found = {canonicalize_name(name) for name in providers.get(module, [])}
            assert found & allowed, f"{where} imports {module}, which pyproject.toml does not require"


def _imports(package):
    """Top-level names of all third-party imports, with the file that has them."""
    for path in sorted(package.rglob("*.py")):
        if {"node_modules", "tests"} & set(path.parts[len(ROOT.parts) :]):  # the latter among book/examples
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            for module in {module.partition(".")[0] for module in modules}:
                if module not in sys.stdlib_module_names and module not in ("fer_core", "book"):
                    yield module, path.relative_to(ROOT)


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == fer_core.__version__


def _make(folder, *arguments, path=os.environ["PATH"]):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")} | {"PATH": path}
    return subprocess.run(["make", *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=60)


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile, and a Python that only notes how it was called."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "fake-python"
    python.write_text(
        '#!/bin/sh\necho "$*" >> calls\n'
        'if [ "$2" = venv ]; then mkdir -p .venv/bin && cp fake-python .venv/bin/python; fi\n'
    )
    python.chmod(0o755)
    return tmp_path


def _installations(checkout):
    return sum("pip install" in line for line in (checkout / "calls").read_text().splitlines())


def test_make_installs_once_and_again_when_requirements_change(checkout):
    for _ in range(2):
        done = _make(checkout, "book", "PYTHON=./fake-python")
        assert done.returncode == 0, done.stderr
        assert _installations(checkout) == 1
        assert (checkout / "calls").read_text().count("-m compileall") == 1
    later = (checkout / ".venv" / "installed-base").stat().st_mtime + 1
    os.utime(checkout / "constraints.txt", (later, later))
    _make(checkout, "book", "PYTHON=./fake-python")
    assert _installations(checkout) == 2


def test_tests_begin_when_everything_is_installed(checkout):
    (checkout / "chromium").touch(0o755)  # which is then not installed
    done = _make(checkout, "test", "PYTHON=./fake-python", "ARGS=-k one", path=f"{checkout}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    *before, last = (checkout / "calls").read_text().splitlines()
    assert last == "-m pytest --numprocesses 2 --dist loadfile -k one"
    assert sum("pip install" in line for line in before) == 1


def test_an_installation_that_failed_is_taken_up_again(checkout):
    python = checkout / "fake-python"
    sound = python.read_text()
    python.write_text(sound + 'if [ "$3" = install ]; then exit 1; fi\n')
    assert _make(checkout, "book", "PYTHON=./fake-python").returncode != 0
    python.write_text(sound)
    (checkout / ".venv" / "bin" / "python").write_text(sound)
    assert _make(checkout, "book", "PYTHON=./fake-python").returncode == 0
    assert _installations(checkout) == 2


def test_another_python_than_the_one_of_the_environment_is_refused(checkout):
    made = (checkout / "fake-python").read_text()
    (checkout / "fake-python").write_text(made + 'case "$2" in *cache_tag*) echo cpython-312 in /usr;; esac\n')
    other = made.replace("fake-python", "other-python") + 'case "$2" in *cache_tag*) echo cpython-313 in /opt;; esac\n'
    (checkout / "other-python").write_text(other)
    (checkout / "other-python").chmod(0o755)
    for arguments in (["PYTHON=./fake-python"], ["PYTHON=./fake-python"], []):
        assert _make(checkout, "book", *arguments).returncode == 0
    before = (checkout / "calls").read_text()
    for python, got in (("./other-python", "cpython-313 in /opt"), ("no-such-python", "none")):
        done = _make(checkout, "book", f"PYTHON={python}")
        assert done.returncode == 2
        (ours,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
        assert ours.startswith(
            f"make: expected the Python that made .venv (cpython-312 in /usr), got {python} ({got}); "
        )
        assert "`make clean`" in ours
    assert "-m book.build" not in (checkout / "calls").read_text().removeprefix(before)
    assert (checkout / ".venv" / "installed-base").exists()
    assert _make(checkout, "clean", "PYTHON=./other-python").returncode == 0
    assert _make(checkout, "book", "PYTHON=./other-python").returncode == 0


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('[ "$1" = -V ] && echo "Python 3.9.2" && exit 0; exit 1', "expected Python 3.11 or newer, got Python 3.9.2"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "expected Python's venv module, got none"),
    ],
)
def test_a_python_that_will_not_do_is_told_in_one_line(checkout, script, expected):
    (checkout / "fake-python").write_text(f"#!/bin/sh\n{script}\n")
    done = _make(checkout, "book", "PYTHON=./fake-python")
    assert done.returncode == 2
    ours = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(ours) == 1
    assert expected in ours[0]
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_is_told_in_one_line(checkout):
    done = _make(checkout, "book", "PYTHON=no-such-python")
    assert done.returncode == 2
    assert "found no no-such-python" in done.stderr
