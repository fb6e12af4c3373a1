"""What CLIP knows besides expressions, and how much of it is left in the image features of a trained method.

Asked of rendered stills, where the truth is known, with the frozen text tower: features that a method has moved away
from CLIP's texts no longer answer.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fer_core import data, engine
from fer_core.clip import Clip
from fer_core.embedded import evaluate
from fer_core.faces import sets

_GALLERY = 1000  # most faces that a caption is sought among; shares depend on it
_FIRST = 5
_FEW = 2  # bootstrap samples: only the values are kept


def generality(tower: Clip, test: data.FaceDataset, predictions: engine.Predictions) -> dict[str, Any]:
    """Zero-shot answers of a method's image features beside its task.

    Args:
        tower: The CLIP of the run.
        test: The test split.
        predictions: On it, with features.

    Returns:
        Under ``generality``: ``attributes``, the balanced accuracy of zero-shot questions about hair, glasses, beard,
        skin, age and colour, mean over them; ``captions``, how often a face's own caption and a caption's own face are
        among the nearest 5 of at most 1,000. Empty for data of which nothing is known, for clips, and for features
        that are none of CLIP's.
    """
    known = test.name in sets.SETS and data.kind(test.name) == "stills"
    if not known or predictions.features.shape[1] != tower.embed_dim:
        return {}
    chosen = np.unique(np.linspace(0, len(predictions.index) - 1, min(_GALLERY, len(predictions.index))).round())
    chosen = chosen.astype(int)
    rows = predictions.index[chosen]
    features = F.normalize(torch.from_numpy(predictions.features[chosen]).float(), dim=-1)
    drawn = sets.draw(test.name, test.split, len(test)).take(torch.from_numpy(rows))
    attributes = evaluate.attribute_scores(tower, features, drawn, resamples=_FEW)
    found = evaluate.retrieval_scores(tower, features, drawn.caption, drawn.subject.numpy(), resamples=_FEW)
    own = [found[f"{direction}, first {_FIRST}"].value for direction in ("caption of a face", "face of a caption")]
    values = [score.value for score in attributes.values()]
    return {"generality": {"attributes": float(np.mean(values)), "captions": float(np.mean(own))}}
