"""What the network is trained towards: masked labels, 'some category is present', and the original's embedding.

Owns the losses. Refuses to know where labels come from. Shapes: B texts, C heads, H hidden units.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LABELS_PER_ROW = 6.0  # scales the sum over known labels so that a usual row weighs about 1


def masked_bce(logits: Tensor, targets: Tensor, known: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy over known labels only, summed per row and averaged over rows. All (B, C), weights (B,)."""
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * known
    return (each.sum(1) / LABELS_PER_ROW * weights).sum() / weights.sum().clamp(min=1e-6)


def some_category(logits: Tensor, open_: Tensor, share: Tensor, weights: Tensor) -> Tensor:
    """Noisy-or: at least one open category is present (Maron & Lozano-Perez 1997, multiple-instance learning).

    `open_` (B, C) is 1 where a category may be the one; `share` (B,) is how sure it is that there is one, 0 to skip.
    """
    log_none = -(F.softplus(logits) * open_).sum(1)  # log prod(1 - p)
    log_some = torch.log(-torch.expm1(log_none.clamp(max=-1e-6)))
    return -(log_some * share * weights).sum() / weights.sum().clamp(min=1e-6)


def embedding_distance(ours: Tensor, original: Tensor) -> Tensor:
    """One minus the cosine of unit-length embeddings, (B, H) each, averaged."""
    return (1.0 - (ours * original).sum(1)).mean()
