"""What all tests share: one thread a process, a cache folder of their own, and the options that choose tests."""

import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: sums in one order, and no fight over cores

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config):
    # The tests' own cache, one for all of their processes: the controller makes it, workers inherit it.
    if not hasattr(config, "workerinput") and "FER_CACHE" not in os.environ:
        config.own_cache = os.environ["FER_CACHE"] = tempfile.mkdtemp(prefix="fer-core-tests-")


def pytest_unconfigure(config):
    if hasattr(config, "own_cache"):
        shutil.rmtree(config.own_cache, ignore_errors=True)
        del os.environ["FER_CACHE"]


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow; pass --slow to run it"))
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, found none"))
