"""Lines of pictures as weighted sums of lines: what scaling and blurring are, along either side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mix_lines(x_BCHW: Tensor, lines_BOK: Tensor, weights_BOK: Tensor) -> Tensor:
    """Return lines that are each a weighted sum of K lines of the same picture.

    Looked up as bags of embeddings are: the sums are made in one pass over the pixels.

    Args:
        x_BCHW: float pixels; a line is a row of W of them.
        lines_BOK: int64, which of the H lines make each of the O new ones.
        weights_BOK: of those lines, of the pixels' dtype.

    Returns:
        (B, C, O, W).
    """
    b, c, h, w = x_BCHW.shape
    _, o, k = lines_BOK.shape
    first_BC11 = torch.arange(0, b * c * h, h, device=x_BCHW.device).view(b, c, 1, 1)
    bags = (lines_BOK[:, None] + first_BC11).view(-1, k)
    weights = weights_BOK[:, None].expand(b, c, o, k).reshape(-1, k)
    mixed = F.embedding_bag(bags, x_BCHW.reshape(-1, w), per_sample_weights=weights, mode="sum")
    return mixed.view(b, c, o, w)
