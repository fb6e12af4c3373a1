"""Cross-entropy against labels, or against the distribution of annotators' votes.

Barsoum et al. 2016, "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution"
(arXiv 1608.01041), the scheme called cross-entropy loss there::

    L = - sum_i sum_k p_ik log q_ik      p_ik: the share of sample i's votes for class k;  q_i: softmax of its logits

The paper sums over samples; we average over the batch, so that a learning rate does not depend on its size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.errors import UserError


class LabelDistributionLoss(nn.Module):
    """Cross-entropy whose target is a label, or a sample's votes where they are given.

    Args:
        label_smoothing: Share of the target that is spread evenly over the classes, in [0, 1).

    Raises:
        ValueError: If ``label_smoothing`` is out of range.

    Example:
        >>> loss = LabelDistributionLoss()
        >>> loss(torch.zeros(1, 4), torch.tensor([2])).exp().round().item()  # an even guess among four
        4.0
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"expected label_smoothing in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, label: Tensor, votes: Tensor | None = None) -> Tensor:
        """The mean loss of a batch.

        Args:
            logits: ``(B, C)``.
            label: ``(B,)`` int64. With votes, it is the target of samples that got none.
            votes: ``(B, C)``, non-negative.

        Raises:
            UserError: If ``votes`` does not have the logits' shape.
        """
        target = label
        if votes is not None:
            if votes.shape != logits.shape:
                raise UserError(
                    f"expected votes of shape {tuple(logits.shape)}, as the logits, got {tuple(votes.shape)}; "
                    "keep one column a class"
                )
            total = votes.sum(dim=1, keepdim=True)
            certain = F.one_hot(label, logits.shape[1]).to(logits.dtype)
            target = torch.where(total > 0, votes / total.clamp_min(1e-12), certain).to(logits.dtype)
        return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
