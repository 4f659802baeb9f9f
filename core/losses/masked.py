"""Reconstruction losses of masked tokens; every masked token of all ranks has the same weight.

Letters: B rows, T tokens, N masked tokens, P or D width of a target, V classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.losses.regression import Penalty, penalties
from sensorium.losses.tokens import token_cross_entropy
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives


def masked_regression(
    predictions_BTP: Tensor, targets_BTP: Tensor, mask_BT: Tensor, penalty: Penalty = "l2", beta: float = 1.0
) -> Tensor:
    """Mean regression penalty over the masked tokens, each token of the joined batch with the same weight.

    Args:
        predictions_BTP: float; computed in fp32 (fp64 stays).
        targets_BTP: float; a gradient flows into them unless they are detached.
        mask_BT: bool, True at masked tokens.
        penalty: of the difference, averaged over P: "l2" is the square, "l1" the absolute value, "smooth-l1" the
            absolute value minus beta / 2, and below beta the square over 2 beta.
        beta: threshold of "smooth-l1" between square and absolute value, > 0.

    Returns:
        This rank's share of the mean over the masked tokens of all ranks; the mean over ranks is the loss of the joined
        batch. Zero, with zero gradient, without a masked token.
    """
    with outside_autocast(predictions_BTP):
        predictions_BTP = at_least_fp32(predictions_BTP)
        targets_BTP = targets_BTP.to(predictions_BTP.dtype)
        each_BTP = penalties(predictions_BTP, targets_BTP, penalty, beta)
        summed = each_BTP.mean(-1).masked_fill(~mask_BT, 0.0).sum()
        return collectives.share(summed, collectives.all_reduce_sum(mask_BT.sum()))


def scaled_cosine_error(predictions_BTP: Tensor, targets_BTP: Tensor, mask_BT: Tensor, gamma: float = 2.0) -> Tensor:
    """GraphMAE's scaled cosine error: mean of (1 - cosine) ** gamma over masked tokens (Hou et al. 2022, eq. 2).

    Args:
        predictions_BTP: float; computed in fp32 (fp64 stays).
        targets_BTP: float; stop-gradient.
        mask_BT: bool, True at masked tokens.
        gamma: scaling factor, >= 1; above 1 it reduces the weight of well predicted tokens.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch. A target of norm zero has cosine 0.
    """
    with outside_autocast(predictions_BTP):
        predictions_BTP, targets_BTP = normalize_rows(predictions_BTP), normalize_rows(targets_BTP.detach())
        error_BT = (1 - cosines(predictions_BTP, targets_BTP.to(predictions_BTP.dtype))).clamp(min=0)
        summed = error_BT.pow(gamma).masked_fill(~mask_BT, 0.0).sum()
        return collectives.share(summed, collectives.all_reduce_sum(mask_BT.sum()))


def reconstruction(predictions_BTP: Tensor, targets: Tensor, mask_BT: Tensor, penalty: Penalty = "l2") -> Tensor:
    """Reconstruction loss of masked tokens against an encoder's targets (`TokenEncoder.token_targets`).

    Args:
        predictions_BTP: float; logits of P classes when the targets are class ids.
        targets: float (B, T, P), compared by `masked_regression`; or int64 (B, T), by `token_cross_entropy`.
        mask_BT: bool, True at masked tokens.
        penalty: of float targets, see `masked_regression`.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    if targets.is_floating_point():
        return masked_regression(predictions_BTP, targets, mask_BT, penalty)
    return token_cross_entropy(predictions_BTP, targets, mask_BT)


def multimodal_reconstruction(
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    penalty: Penalty = "l2",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean over modalities of their reconstruction losses (MultiMAE, Bachmann et al. 2022, section 3.3; a mean here).

    Each modality is the mean over its masked tokens, whatever the number of its classes. One of which no rank has a
    masked token counts as none, not as a loss of zero; its predictions have a gradient, which is zero.

    Args:
        predictions: modality name -> float (B, T, P); the records of modalities may be different ones.
        targets: modality name -> float (B, T, P), or class ids int64 (B, T).
        masks: modality name -> bool (B, T), True at masked tokens.
        penalty: of float targets, see `masked_regression`.

    Returns:
        This rank's share of the loss, and of that of each modality; the mean over ranks is that of the joined batch.
    """
    each = {name: reconstruction(made, targets[name], masks[name], penalty) for name, made in predictions.items()}
    counts_M = collectives.all_reduce_sum(torch.stack([masks[name].sum() for name in each]))
    summed = torch.stack(list(each.values())).sum()
    return summed / (counts_M > 0).sum().clamp(min=1), each
