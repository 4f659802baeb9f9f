"""A product quantizer whose codes are learned through Gumbel noise.

Letters: N rows, D width of a row, G groups, V codes of a group, P width of a target.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError


class Quantizer(nn.Module):
    """Picks a code out of each of G groups; the picked vectors side by side, through a linear map, are the target.

    Baevski et al. 2020, section 2 (Jang et al. 2017). While training a code is picked by scores with Gumbel noise, and
    the gradient is that of the softmax at the temperature; in evaluation the best score is picked.

    Args:
        dim: D.
        groups: G; they divide `out`.
        codes: V.
        out: P, width of a target.
    """

    def __init__(self, dim: int, groups: int, codes: int, out: int) -> None:
        super().__init__()
        if groups < 1 or codes < 2 or out % groups:
            raise RecipeError(
                f"The quantizer of 'wav2vec2' needs two codes at least, and groups that divide its dim, not {groups} "
                f"groups of {codes} codes for a dim of {out}."
            )
        self.groups, self.codes = groups, codes
        self.score = nn.Linear(dim, groups * codes)
        nn.init.normal_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        self.vectors = nn.Parameter(torch.rand(groups, codes, out // groups))
        self.project = nn.Linear(out, out)

    def forward(self, x_ND: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return targets (N, P), probabilities without noise (N, G, V), and the picked codes int64 (N, G).

        Draws from torch's global generator while training.
        """
        with torch.autocast(x_ND.device.type, enabled=False):
            scores_NGV = self.score(x_ND.to(self.score.weight.dtype)).unflatten(-1, (self.groups, self.codes))
            if self.training:
                noise_NGV = -torch.empty_like(scores_NGV).exponential_().log()
                soft_NGV = ((scores_NGV + noise_NGV) / temperature).softmax(-1)
            else:
                soft_NGV = scores_NGV.softmax(-1)
            codes_NG = soft_NGV.argmax(-1)
            hard_NGV = nn.functional.one_hot(codes_NG, self.codes).to(soft_NGV.dtype)
            picked_NGV = hard_NGV + (soft_NGV - soft_NGV.detach())
            targets_NP = self.project(torch.einsum("ngv,gvp->ngp", picked_NGV, self.vectors).flatten(1))
            return targets_NP, scores_NGV.softmax(-1), codes_NG
