"""wav2vec 2.0's losses of quantized targets: contrast with distractors, and diversity of the codebooks.

Letters: B records, M masked tokens of a record, K distractors, N rows of any kind, G codebooks, V codes of a codebook,
D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.arguments import check_positive
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def masked_contrastive(
    predictions_BMD: Tensor,
    targets_BMD: Tensor,
    codes_BMG: Tensor,
    distractors_BMK: Tensor,
    mask_BM: Tensor,
    temperature: Tensor | float,
) -> Tensor:
    """wav2vec 2.0's contrastive loss: InfoNCE of each masked token over its distractors (Baevski et al. 2020, eq. 3).

    A distractor with the target's codes is a false negative, excluded from the denominator.

    Args:
        predictions_BMD: float, any norm; computed in fp32 (fp64 stays).
        targets_BMD: float, any norm; a gradient flows into them unless they are detached.
        codes_BMG: int64, the codes of the targets.
        distractors_BMK: int64, indices of each token's distractors among the M of its record.
        mask_BM: bool, True at masked tokens with distractors; the others are padding.
        temperature: softmax temperature, > 0, which divides cosines; the paper's is 0.1.

    Returns:
        This rank's share of the mean over the masked tokens of all ranks, each with the same weight: the mean over
        ranks is the loss of the joined batch. Zero, with zero gradient, without such a token.
    """
    check_positive("temperature", temperature)
    with outside_autocast(predictions_BMD):
        predictions_BMD, targets_BMD = normalize_rows(predictions_BMD), normalize_rows(targets_BMD)
        cosines_BMM = predictions_BMD @ targets_BMD.to(predictions_BMD.dtype).mT
        codes_BMKG = codes_BMG.gather(1, distractors_BMK.flatten(1)[..., None].expand(-1, -1, codes_BMG.shape[2]))
        same_BMK = (codes_BMKG.view(*distractors_BMK.shape, codes_BMG.shape[2]) == codes_BMG[:, :, None]).all(-1)
        positive_BM = cosines_BMM.diagonal(dim1=1, dim2=2) / temperature
        logits_BMK = cosines_BMM.gather(2, distractors_BMK) / temperature
        logits_BMK = logits_BMK.masked_fill(same_BMK, float("-inf"))
        loss_BM = torch.cat([positive_BM[..., None], logits_BMK], dim=2).logsumexp(2) - positive_BM
        summed = loss_BM.masked_fill(~mask_BM, 0.0).sum()
        return collectives.share(summed, collectives.all_reduce_sum(mask_BM.sum()))


def diversity(probabilities_NGV: Tensor) -> Tensor:
    """wav2vec 2.0's diversity loss (Baevski et al. 2020, eq. 4): 0 when all codes are used equally.

    (G V - the sum over codebooks of the perplexity of the mean distribution) / G V.

    Args:
        probabilities_NGV: each row's distribution over the codes of each codebook, without Gumbel noise; in fp32.

    Returns:
        The loss of the joined rows of all ranks, the same on each; its mean over ranks is itself, and the mean of
        gradients that of the joined rows. Zero, with zero gradient, when no rank has a row.
    """
    with outside_autocast(probabilities_NGV):
        probabilities = at_least_fp32(probabilities_NGV)
        sums_WGV, _ = collectives.all_gather(probabilities.sum(0, keepdim=True))
        count = collectives.count_rows(probabilities)
        mean_GV = sums_WGV.sum(0) / max(count, 1)
        used = _exp_entropy(mean_GV)
        return float(count > 0) * (1 - used.sum() / mean_GV.numel())


@torch.no_grad()
def code_perplexity(codes_NG: Tensor, count: int, mask_N: Tensor | None = None) -> Tensor:
    """Return the perplexity of the codes of the joined rows of all ranks, mean over codebooks: from 1 to `count`.

    Args:
        codes_NG: int64, the code of each row in each codebook.
        count: V, codes of a codebook.
        mask_N: bool, the rows that count; None is all.
    """
    used_GV = torch.zeros(codes_NG.shape[1], count, device=codes_NG.device)
    ones_GN = (
        torch.ones_like(codes_NG, dtype=used_GV.dtype).T if mask_N is None else mask_N.to(used_GV).expand_as(codes_NG.T)
    )
    used_GV = collectives.all_reduce_sum(used_GV.scatter_add_(1, codes_NG.T, ones_GN))
    return _exp_entropy(used_GV / used_GV.sum(1, keepdim=True).clamp(min=1)).mean()


@torch.no_grad()
def assignment_perplexity(targets_BTK: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many of K prototypes are in use, from 1 to K, and the mean entropy of one assignment, in nats.

    Args:
        targets_BTK: distributions over prototypes.
        mask_BT: bool, the tokens of the joined batch that count; without any, 1 and 0.
    """
    valid_BT1 = mask_BT[..., None]
    count = collectives.all_reduce_sum(mask_BT.sum()).clamp(min=1)
    mean_K = collectives.all_reduce_sum(targets_BTK.masked_fill(~valid_BT1, 0.0).sum((0, 1))) / count
    entropies = torch.special.entr(targets_BTK).masked_fill(~valid_BT1, 0.0).sum()
    return torch.special.entr(mean_K).sum().exp(), collectives.all_reduce_sum(entropies) / count


def _exp_entropy(mean_GV: Tensor) -> Tensor:
    """Return exp of the entropy of each codebook; a code that is never used contributes no value or gradient."""
    tiny = torch.finfo(mean_GV.dtype).tiny
    return (-(mean_GV * mean_GV.clamp(min=tiny).log()).sum(1)).exp()
