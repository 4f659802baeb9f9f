"""Losses of guessed tokens: each guess against its target, those of every rank counted alike.

Letters: B rows, T tokens, N guessed tokens, P or D width of a target, V classes.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.losses.tokens import token_cross_entropy
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives

Penalty = Literal["l2", "l1", "smooth-l1"]


def masked_regression(
    guesses_BTP: Tensor, targets_BTP: Tensor, mask_BT: Tensor, penalty: Penalty = "l2", beta: float = 1.0
) -> Tensor:
    """Mean penalty over the guessed tokens, each token of the joined batch with the same weight.

    Args:
        guesses_BTP: float, computed with in fp32 (fp64 stays).
        targets_BTP: float; a gradient flows into them unless they are detached.
        mask_BT: bool, True at the tokens that were guessed.
        penalty: of each number, averaged over P: "l2" is the square of the difference, "l1" its size, "smooth-l1" the
            size less beta / 2, and below beta the square over 2 beta.
        beta: where "smooth-l1" turns from a square to a line.

    Returns:
        This rank's share: its sum times world over the guessed tokens of all ranks, so that the mean over ranks is the
        loss of the joined batch however its tokens are spread. Zero, with zero gradient, when none was guessed.
    """
    with outside_autocast(guesses_BTP):
        guesses_BTP = at_least_fp32(guesses_BTP)
        targets_BTP = targets_BTP.to(guesses_BTP.dtype)
        if penalty == "l2":
            each_BTP = F.mse_loss(guesses_BTP, targets_BTP, reduction="none")
        elif penalty == "l1":
            each_BTP = F.l1_loss(guesses_BTP, targets_BTP, reduction="none")
        else:
            each_BTP = F.smooth_l1_loss(guesses_BTP, targets_BTP, reduction="none", beta=beta)
        summed = each_BTP.mean(-1).masked_fill(~mask_BT, 0.0).sum()
        return collectives.share(summed, collectives.all_reduce_sum(mask_BT.sum()))


def scaled_cosine_error(guesses_BTP: Tensor, targets_BTP: Tensor, mask_BT: Tensor, power: float = 2.0) -> Tensor:
    """Mean of (1 - cosine) ** power over the guessed tokens (GraphMAE, Hou et al. 2022, eq. 2).

    Args:
        guesses_BTP: float, computed with in fp32 (fp64 stays).
        targets_BTP: float; no gradient flows into them.
        mask_BT: bool, True at the tokens that were guessed.
        power: above 1 it makes light of tokens that are guessed well.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch. A target of length zero has cosine 0.
    """
    with outside_autocast(guesses_BTP):
        guesses_ND, targets_ND = normalize_rows(guesses_BTP[mask_BT]), normalize_rows(targets_BTP.detach()[mask_BT])
        away_N = (1 - cosines(guesses_ND, targets_ND.to(guesses_ND.dtype))).clamp(min=0)
        return collectives.share(away_N.pow(power).sum(), collectives.all_reduce_sum(mask_BT.sum()))


def reconstruction(guesses_BTP: Tensor, targets: Tensor, mask_BT: Tensor, penalty: Penalty = "l2") -> Tensor:
    """Loss of guessed tokens against what an encoder says that they are (`TokenEncoder.token_targets`).

    Args:
        guesses_BTP: float; scores of P classes when the targets are class ids.
        targets: float (B, T, P), compared by `masked_regression`; or int64 (B, T), by `token_cross_entropy`.
        mask_BT: bool, True at the tokens that were guessed.
        penalty: of floats.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    if targets.is_floating_point():
        return masked_regression(guesses_BTP, targets, mask_BT, penalty)
    return token_cross_entropy(guesses_BTP, targets, mask_BT)
