"""Losses of quantized targets: tell a hidden token's code from those of others, and keep all codes in use.

Letters: B records, M hidden tokens of a record, K distractors, N rows of any kind, G groups of codes, V codes of a
group, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def masked_contrastive(
    guesses_BMD: Tensor,
    targets_BMD: Tensor,
    codes_BMG: Tensor,
    distractors_BMK: Tensor,
    mask_BM: Tensor,
    temperature: Tensor | float,
) -> Tensor:
    """Tell each hidden token's target from those of others of its record (wav2vec 2.0, Baevski et al. 2020, eq. 3).

    A distractor of the same codes is no wrong answer and does not count.

    Args:
        guesses_BMD: float, any scale, computed with in fp32 (fp64 stays).
        targets_BMD: float, any scale; a gradient flows into them unless they are detached.
        codes_BMG: int64, the codes that the targets are made of.
        distractors_BMK: int64, for each token the places of its distractors among the M of its record.
        mask_BM: bool, which of the M are hidden tokens with distractors; the others are filling and do not count.
        temperature: what cosines are divided by.

    Returns:
        This rank's share of the mean over the hidden tokens of all ranks, each with the same weight: the mean over
        ranks is the loss of the joined batch. Zero, with zero gradient, when no token counts.
    """
    with outside_autocast(guesses_BMD):
        guesses_BMD, targets_BMD = normalize_rows(guesses_BMD), normalize_rows(targets_BMD)
        cosines_BMM = guesses_BMD @ targets_BMD.to(guesses_BMD.dtype).mT
        codes_BMKG = codes_BMG.gather(1, distractors_BMK.flatten(1)[..., None].expand(-1, -1, codes_BMG.shape[2]))
        same_BMK = (codes_BMKG.view(*distractors_BMK.shape, codes_BMG.shape[2]) == codes_BMG[:, :, None]).all(-1)
        own_BM = cosines_BMM.diagonal(dim1=1, dim2=2) / temperature
        logits_BMK = cosines_BMM.gather(2, distractors_BMK) / temperature
        logits_BMK = logits_BMK.masked_fill(same_BMK, float("-inf"))
        each_BM = torch.cat([own_BM[..., None], logits_BMK], dim=2).logsumexp(2) - own_BM
        summed = each_BM.masked_fill(~mask_BM, 0.0).sum()
        return collectives.share(summed, collectives.all_reduce_sum(mask_BM.sum()))


def diversity(probabilities_NGV: Tensor) -> Tensor:
    """How far the mean use of each group's codes is from even (Baevski et al. 2020, eq. 4): 0 when all are used alike.

    (G V - the sum over groups of exp of the entropy of the mean) / G V.

    Args:
        probabilities_NGV: each row's distribution over the codes of each group, without noise; computed in fp32.

    Returns:
        The loss of the joined rows of all ranks, the same on each; its mean over ranks is itself, and the mean of
        gradients that of the joined rows. Zero, with zero gradient, when no rank has a row.
    """
    with outside_autocast(probabilities_NGV):
        precise = at_least_fp32(probabilities_NGV)
        sums_WGV, _ = collectives.all_gather(precise.sum(0, keepdim=True))
        count = collectives.all_reduce_sum(torch.tensor(float(len(precise)), device=precise.device))
        mean_GV = sums_WGV.sum(0) / count.clamp(min=1)
        used = _exp_entropy(mean_GV)
        return (count > 0) * (1 - used.sum() / mean_GV.numel())


@torch.no_grad()
def code_perplexity(codes_NG: Tensor, count: int) -> Tensor:
    """Return how many of `count` codes a group of the joined rows of all ranks uses: exp of the entropy, mean over G.

    Args:
        codes_NG: int64, the code of each row in each group.
        count: V, codes of a group.
    """
    used_GV = collectives.all_reduce_sum(F.one_hot(codes_NG, count).sum(0).float())
    return _exp_entropy(used_GV / used_GV.sum(1, keepdim=True).clamp(min=1)).mean()


def _exp_entropy(mean_GV: Tensor) -> Tensor:
    """Return exp of the entropy of each group; a code that is never used has no part in value or gradient."""
    tiny = torch.finfo(mean_GV.dtype).tiny
    return (-(mean_GV * mean_GV.clamp(min=tiny).log()).sum(1)).exp()
