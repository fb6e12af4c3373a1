"""What an image shows of each class and of no class like it: patches asked by the classes' texts.

Our reading of the *prompt-guided emotion discrimination* that the abstract of LES-CLIP (Fu et al., MM 2025) names; its
equations are not public. With texts T (C, D) and patch tokens P (N, D) of an image::

    A    = softmax((T W_q) (P W_k)^T / sqrt(h))          which patches a class looks at, (C, N)
    U    = A (P W_v) W_o                                 what it sees there, (C, D);  W_o starts at zero
    U'_c = U_c - sum_{j != c} w_cj U_j                   without what look-alikes see too; w: text_likeness
         = ((A - w A) P W_v W_o)_c                       as it is computed: half precision would lose the difference
    z_c  = z + eta U'_c                                  the image as class c sees it; eta is learned

Where all texts are the same, U' is zero and the image stays as it is. At the start attention is nearly even, so that
all classes see nearly the same and U' is small: a small eta on top of that leaves too little gradient to get away.
"""

import torch
from torch import Tensor, nn

from fer_core.losses.similar_emotion import text_likeness


class Discrimination(nn.Module):
    """Text-queried patches, less what confusable classes share.

    Args:
        texts: ``(C, D)`` normalised text features of the classes; fixed.
        inner: Width h of queries, keys and values.
        strength: Start of the learned factor eta.
        subtract: Whether to take away what confusable classes share.

    Attributes:
        attention: ``(B, C, N)`` of the last forward pass: which patches each class looked at.
    """

    attention: Tensor
    texts: Tensor
    likeness: Tensor

    def __init__(self, texts: Tensor, inner: int = 64, strength: float = 1.0, subtract: bool = True) -> None:
        super().__init__()
        width = texts.shape[1]
        self.register_buffer("texts", texts.detach().clone(), persistent=False)
        self.register_buffer("likeness", text_likeness(texts), persistent=False)
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, width, bias=False)
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.out.weight)
        self.strength = nn.Parameter(torch.tensor(strength))
        self.subtract = subtract

    def forward(self, image: Tensor, patches: Tensor) -> Tensor:
        """The image as each class sees it.

        Args:
            image: ``(B, D)`` normalised.
            patches: ``(B, N, D)`` projected patch tokens.

        Returns:
            ``(B, C, D)``, not normalised.
        """
        query, key = self.query(self.texts), self.key(patches)
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        self.attention = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(-1)
        looks = self.attention
        if self.subtract:
            with torch.autocast(looks.device.type, enabled=False):
                looks = looks - self.likeness.to(looks.dtype) @ looks
        seen = self.out(looks.to(key.dtype) @ self.value(patches))  # (B, C, D)
        return image[:, None] + self.strength * seen
