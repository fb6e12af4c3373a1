"""Where the project keeps what took time to make."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The cache folder: ``FER_CACHE``, or the user's cache folder of this platform."""
    return Path(os.environ.get("FER_CACHE") or platformdirs.user_cache_dir("fer-core"))
