"""What all tests share: one thread a process, a cache folder of their own, and the options that choose tests."""

import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: sums in one order, and no fight over cores

import pytest
import torch

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream",  # a camera that shows moving shapes; pages still need leave to use it
)  # fmt: skip


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


@pytest.fixture(scope="session")
def narrow_vit():
    """The name of a CLIP with random weights and few patches: for tests of what happens, not of what comes out."""
    import open_clip

    open_clip.add_model_config(Path(__file__).parent / "helpers" / "narrow-vit.json")
    return "narrow-vit:random"


@pytest.fixture(scope="module")  # for a whole session its event loop would be in the way of tests that need their own
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(
            f"needs a browser, found none of {', '.join(BROWSERS)}; `make test` as root installs Debian's chromium"
        )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()
