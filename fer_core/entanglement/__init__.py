"""Measures of semantic entanglement: how far a CLIP holds look-alike expressions apart, in its images and in its texts.

All take features of the joint space, labels, and the texts' features where texts matter. Lengths carry no meaning in
that space, so features are brought to unit length first. Symbols: N samples, C classes, D the width of the space, K
neighbours, R bootstrap samples.

Estimates come with a percentile bootstrap interval, stratified by class. Drawn are the samples that are asked about;
the neighbours, folds and centroids that they are compared with are found once, on the whole set, since a sample that
is drawn twice would be its own nearest neighbour.
"""

from fer_core.entanglement.confusion import (
    Correlation,
    balanced_accuracy,
    centroid_scores,
    distance_correlation,
    distances,
    entanglement_index,
    image_text_confusion,
    pair_confusion,
    positions,
    probe,
    text_scores,
)
from fer_core.entanglement.estimates import Bootstrap, Estimate
from fer_core.entanglement.geometry import (
    alignment,
    class_similarity,
    modality_gap,
    neighbour_mixing,
    silhouette,
    text_similarity,
    uniformity,
)
from fer_core.entanglement.maps import Map, aligned, embed, maps, trustworthiness

__all__ = [
    "Bootstrap", "Correlation", "Estimate", "Map", "aligned", "alignment", "balanced_accuracy", "centroid_scores",
    "class_similarity", "distance_correlation", "distances", "embed", "entanglement_index", "image_text_confusion",
    "maps", "modality_gap", "neighbour_mixing", "pair_confusion", "positions", "probe", "silhouette", "text_scores",
    "text_similarity", "trustworthiness", "uniformity",
]  # fmt: skip
