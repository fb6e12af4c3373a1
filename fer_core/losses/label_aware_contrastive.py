"""Image-text contrast in both directions, where all images of a class belong to its text.

Yang et al. 2022, "Unified Contrastive Learning in Image-Text-Label Space" (CVPR, arXiv 2204.03610), equations 2 to 4,
with one text a class: a batch then holds each text once for each of its images. With l_ic the scaled likeness of image
i to the text of class c::

    L_it = - mean_i log( exp l_{i,y_i} / sum_c exp l_ic )           every class is a negative, present or not
    L_ti = - mean_i log( exp l_{i,y_i} / sum_j exp l_{j,y_i} )      images of the same class share the text's weight
    L    = (L_it + L_ti) / 2

The paper's image-to-text sum runs over the texts of the batch; ours over all classes (our reading), so that a rare
class is contrasted even in batches that lack it.
"""

import torch.nn.functional as F
from torch import Tensor


def label_aware_contrastive(logits: Tensor, label: Tensor) -> Tensor:
    """The mean loss of a batch.

    Args:
        logits: ``(B, C)`` scaled likeness of each image to each class' text.
        label: ``(B,)`` int64.
    """
    to_text = F.cross_entropy(logits, label)
    over_images = F.log_softmax(logits, dim=0)
    to_image = -over_images.gather(1, label[:, None]).mean()
    return (to_text + to_image) / 2
