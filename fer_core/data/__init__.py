"""Data sets, transforms and loaders."""

# Each licensed data set adds its layout when it is imported.
from fer_core.data import affectnet, bah, biovid, dfew, fer2013, ferplus, ferv39k, mafw, rafdb, stressid  # noqa: F401
from fer_core.data.dataset import CLASSES, SPLITS, FaceDataset, MemoryDataset
from fer_core.data.ferplus import duplicates_report
from fer_core.data.loading import loader, order
from fer_core.data.mislabelled import LabelNoise, Mislabelled
from fer_core.data.registry import kind, names, open
from fer_core.data.selections import Joined, balanced, few
from fer_core.data.selections import Subset as subset  # noqa: N813
from fer_core.data.transforms import Augmentation, Transform

__all__ = [
    "CLASSES", "SPLITS", "Augmentation", "FaceDataset", "Joined", "LabelNoise", "MemoryDataset", "Mislabelled",
    "Transform", "balanced", "duplicates_report", "few", "kind", "loader", "names", "open", "order", "subset",
]  # fmt: skip
