"""What records say of the machine and the code, and what they keep quiet about."""

import getpass
import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fer_core
from fer_core import hardware


def test_hardware_names_no_machine_and_no_user():
    found = hardware.describe("cpu")
    assert found["device"] == "cpu"
    assert found["gpu"] is None
    assert found["cores"] >= 1
    assert found["threads"] == torch.get_num_threads()
    assert found["memory"] > 2**28
    assert all(found[key] for key in ("cpu", "system", "architecture"))
    assert found["bf16"] is hardware.computes_bf16(torch.device("cpu"))
    values = json.dumps([found, hardware.versions()]).split('"')
    for private in (socket.gethostname(), getpass.getuser(), str(Path.home()), str(Path.cwd())):
        assert private not in values


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="needs Linux's list of the processor's flags")
def test_units_for_bf16_are_those_that_linux_names():
    if platform.machine() != "x86_64":
        pytest.skip("needs an x86 processor, whose flags are known")
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    assert hardware.computes_bf16(torch.device("cpu")) is ("amx_bf16" in flags or "avx512_bf16" in flags)


_FILLED_AND_FREED = """
import os, sys
import torch
from fer_core import hardware

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")  # bytes that are there

if sys.argv[1] == "keep":
    assert hardware.keep_memory() and hardware.keep_memory()
left = []
for pieces, floats in ((16, 6 * 2**20), (1, 96 * 2**20)):  # 16 times 24 MiB, once 384
    before = held()
    for _ in range(3):
        filled = [torch.ones(floats) for _ in range(pieces)]
        del filled
    left.append(held() - before)
print(*left)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose memory can be told to be kept")
def test_memory_is_kept_where_asked():
    # Without the variable, what glibc gives back depends on where the smallest of other pieces happens to lie.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(128 * 2**10)}
    left = {}
    for way in ("keep", "leave"):
        done = subprocess.run([sys.executable, "-c", _FILLED_AND_FREED, way], capture_output=True, check=True, env=env)
        left[way] = [int(size) / 2**20 for size in done.stdout.split()]
    small, large = left["keep"]
    assert 300 < small < 700
    assert large < 100, "pieces above 32 MiB go back to the system"
    assert max(left["leave"]) < 100


def test_versions_are_those_that_run():
    found = hardware.versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["fer_core"] == fer_core.__version__
    assert set(found) == {"python", "torch", "open_clip", "numpy", "fer_core"}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout that hardware.commit takes for ours."""
    root = tmp_path / "project"
    (root / "fer_core").mkdir(parents=True)
    (root / "fer_core" / "hardware.py").write_text("one\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    monkeypatch.setattr(hardware, "__file__", str(root / "fer_core" / "hardware.py"))
    return root


def test_commit_is_the_checkouts(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert hardware.commit() == head
    (checkout / "book").mkdir()
    (checkout / "book" / "record.json").touch()
    assert hardware.commit() == head, "a new record changes no result"
    (checkout / "fer_core" / "hardware.py").write_text("two\n")
    assert hardware.commit() == f"{head}+dirty"


def test_no_commit_outside_a_checkout_of_ours(checkout, tmp_path, monkeypatch):
    other = checkout / "site-packages" / "fer_core"
    other.mkdir(parents=True)
    monkeypatch.setattr(hardware, "__file__", str(other / "hardware.py"))
    assert hardware.commit() is None, "installed inside another project's tree"
    monkeypatch.setattr(hardware, "__file__", str(tmp_path / "a" / "fer_core" / "hardware.py"))
    assert hardware.commit() is None
    monkeypatch.setenv("PATH", "")
    assert hardware.commit() is None, "no git on the machine"


def test_no_commit_before_the_first(tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet")
    monkeypatch.setattr(hardware, "__file__", str(tmp_path / "fer_core" / "hardware.py"))
    assert hardware.commit() is None
