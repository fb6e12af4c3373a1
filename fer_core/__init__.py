"""Models, losses and training loops for CLIP-based facial expression recognition."""

__version__ = "0.1.0"
