"""The load-balance loss of mixtures of experts.

Fedus et al. 2022, "Switch Transformers" (JMLR 23, arXiv 2101.03961), equation 4, for k experts a sample::

    L = E * sum_e f_e * p_e      f_e: share of all assignments that expert e gets;  p_e: mean of its softmax weight

It is 1 where both are even, and grows to E where one expert gets everything.
"""

from torch import Tensor


def load_balance(assigned: Tensor, weights: Tensor) -> Tensor:
    """The loss of one mixture; gradients flow through the softmax weights alone.

    Args:
        assigned: ``(B, E)`` bool, which experts each sample was sent to; at least one each.
        weights: ``(B, E)`` softmax over all experts.
    """
    share = assigned.to(weights.dtype)
    share = share.sum(0) / share.sum()
    return weights.shape[1] * (share * weights.mean(0)).sum()
