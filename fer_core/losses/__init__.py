"""Training losses: one loss, one file."""

from fer_core.losses.label_distribution import LabelDistributionLoss

__all__ = ["LabelDistributionLoss"]
