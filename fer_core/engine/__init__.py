"""Training and evaluation of any method, on two cores, one GPU or many; knows nothing of any paper.

``training`` says how, ``fitting`` does it, ``steps`` takes one step, ``sources`` gives batches of pixels or features,
``evaluating`` predicts, ``checkpoints`` and ``preemption`` survive, ``processes`` share the work, ``runtime`` asks of
the machine what it can give, ``reporting`` tells.
"""

from fer_core.engine.evaluating import Predictions, evaluate
from fer_core.engine.fitting import CHECKPOINT_SECONDS, Fit, fit
from fer_core.engine.processes import Processes
from fer_core.engine.runtime import autocast, learning_rate_factor, seed_everything
from fer_core.engine.training import Training, TrainingError

__all__ = [
    "CHECKPOINT_SECONDS", "Fit", "Predictions", "Processes", "Training", "TrainingError", "autocast",
    "evaluate", "fit", "learning_rate_factor", "seed_everything",
]  # fmt: skip
