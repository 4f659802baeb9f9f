"""Product quantization with Gumbel softmax.

Letters: N rows, D width of a row, G codebooks, V entries of a codebook, P width of a target.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError, check_range


class Quantizer(nn.Module):
    """Product quantizer: one entry of each of G codebooks, concatenated and mapped linearly, is the target.

    Baevski et al. 2020, section 2. In training entries are picked by Gumbel softmax, straight-through (Jang et al.
    2017); in evaluation the entry of the largest logit is picked.

    Args:
        dim: D.
        codebooks: G; they divide `out`.
        size: V.
        out: P, width of a target.
    """

    def __init__(self, dim: int, codebooks: int, size: int, out: int) -> None:
        super().__init__()
        check_range("objective 'wav2vec2'", "[1, inf)", codebooks=codebooks)
        check_range("objective 'wav2vec2'", "[2, inf)", codebook_size=size)
        if out % codebooks:
            raise RecipeError(
                f"The dim of the objective 'wav2vec2' ({out}) must be a multiple of its {codebooks} codebooks."
            )
        self.size = size
        self.logits = nn.Linear(dim, codebooks * size)
        nn.init.normal_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)
        self.entries = nn.Parameter(torch.rand(codebooks, size, out // codebooks))
        self.project = nn.Linear(out, out)

    def forward(self, x_ND: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return targets (N, P), probabilities without noise (N, G, V), and the picked entries int64 (N, G).

        Draws from torch's global generator while training.
        """
        with torch.autocast(x_ND.device.type, enabled=False):
            logits_NGV = self.logits(x_ND.to(self.logits.weight.dtype)).unflatten(-1, (-1, self.size))
            if self.training:
                noise_NGV = -torch.empty_like(logits_NGV).exponential_().log()
                soft_NGV = ((logits_NGV + noise_NGV) / temperature).softmax(-1)
            else:
                soft_NGV = logits_NGV.softmax(-1)
            codes_NG = soft_NGV.argmax(-1)
            hard_NGV = nn.functional.one_hot(codes_NG, self.size).to(soft_NGV.dtype)
            picked_NGV = hard_NGV + (soft_NGV - soft_NGV.detach())
            targets_NP = self.project(torch.einsum("ngv,gvp->ngp", picked_NGV, self.entries).flatten(1))
            return targets_NP, logits_NGV.softmax(-1), codes_NG
