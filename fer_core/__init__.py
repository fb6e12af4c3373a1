"""Models, losses and training loops for CLIP-based facial expression recognition."""

import os

__version__ = "0.1.0"

# What deterministic cuBLAS asks for. It reads this once, when it is first used, which may be long before a training.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
