"""The hierarchical contrast of TS2Vec: aligned tokens of two views, at coarser and coarser scales.

Letters: B this rank's rows, M joined rows of all ranks, T aligned tokens, D width. Similarities are dot products, as
in the paper, without a temperature. Everything is computed in fp32, or in fp64 when that comes in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives


def hierarchical_contrastive(
    z1_BTD: Tensor,
    z2_BTD: Tensor,
    mask_BT: Tensor | None = None,
    alpha: float = 0.5,
    temporal_from: int = 0,
) -> Tensor:
    """Instance and temporal contrast between aligned tokens of two views (Yue et al. 2022, equations 1 to 3).

    A token's positive is the same token of the other view. The instance contrast tells it from that token of other
    rows, in both views; the temporal one from other tokens of its row. Then neighbors are joined by their maximum,
    and again, until one token is left; the loss is the mean over these scales.

    Args:
        z1_BTD: this rank's tokens of the first view.
        z2_BTD: the tokens of the second view that show the same.
        mask_BT: bool, which tokens are real, in each row the first ones; None when all are. Two tokens are joined when
            both are real; a row without a real token takes no part.
        alpha: weight of the instance contrast; the temporal one has the rest.
        temporal_from: the scale, counted from 0, from which on the temporal contrast is taken.

    Returns:
        This rank's share: the mean over ranks is the loss of the joined batch, rows of which are instances to each
        other wherever they live. Tokens that have nothing to be told from do not count; when none has, it is zero.
    """
    if mask_BT is None:
        mask_BT = torch.ones(z1_BTD.shape[:2], dtype=torch.bool, device=z1_BTD.device)
    with outside_autocast(z1_BTD):
        z_M2TD, mask_MT, first = _joined(z1_BTD, z2_BTD, mask_BT)
        mine = slice(first, first + len(z1_BTD))
        whole = bool(mask_MT.all())  # then no key need be masked, at any scale
        loss, scales = 0.0 * (z1_BTD.sum() + z2_BTD.sum()).to(z_M2TD.dtype), 0
        while z_M2TD.shape[2]:
            if alpha > 0:
                loss = loss + alpha * _instance(z_M2TD, mask_MT, mine, whole)
            if alpha < 1 and z_M2TD.shape[2] > 1 and scales >= temporal_from:
                loss = loss + (1 - alpha) * _temporal(z_M2TD[mine], mask_MT, mine, whole)
            scales += 1
            z_M2TD, mask_MT = _coarser(z_M2TD, mask_MT)
        return collectives.share(loss, scales)


def _joined(z1_BTD: Tensor, z2_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return both views (M, 2, T, D) and the mask (M, T) of all ranks, and the place of this rank's first row."""
    z_B2TD = torch.stack([z1_BTD, z2_BTD], dim=1)
    z_B2TD = at_least_fp32(z_B2TD)
    longest = max(collectives.rank_sizes(mask_BT.shape[1], mask_BT.device))
    if longest > mask_BT.shape[1]:
        z_B2TD = F.pad(z_B2TD, (0, 0, 0, longest - mask_BT.shape[1]))
        mask_BT = F.pad(mask_BT, (0, longest - mask_BT.shape[1]), value=False)
    z_M2TD, first = collectives.all_gather(z_B2TD)
    mask_MT, _ = collectives.all_gather(mask_BT.to(torch.uint8))
    return z_M2TD, mask_MT.bool(), first


def _coarser(z_M2TD: Tensor, mask_MT: Tensor) -> tuple[Tensor, Tensor]:
    """Join tokens two by two; an odd last one is left over."""
    half = z_M2TD.shape[2] // 2
    pairs_M2TpD = z_M2TD[:, :, : 2 * half].unflatten(2, (half, 2))
    return pairs_M2TpD.amax(3), mask_MT[:, : 2 * half].unflatten(1, (half, 2)).all(2)


def _instance(z_M2TD: Tensor, mask_MT: Tensor, mine: slice, whole: bool) -> Tensor:
    """Return this rank's part of the mean over both views' tokens that another row has too."""
    counted_MT = mask_MT & (mask_MT.sum(0) > 1)
    keys_TND = z_M2TD.permute(2, 0, 1, 3).flatten(1, 2)  # N = 2M, a row's views side by side
    real_TN = None if whole else mask_MT.T.repeat_interleave(2, 1)
    partners_N = torch.arange(2 * len(mask_MT), device=mask_MT.device) ^ 1
    nats_TA = Nats.apply(keys_TND, 2 * mine.start, 2 * mine.stop, partners_N, real_TN)
    summed = torch.where(counted_MT[mine].T.repeat_interleave(2, 1), nats_TA, 0.0).sum()
    return summed / (2 * counted_MT.sum()).clamp(min=1)


def _temporal(z_B2TD: Tensor, mask_MT: Tensor, mine: slice, whole: bool) -> Tensor:
    """Return this rank's part of the mean over both views' tokens whose row has another."""
    counted_MT = mask_MT & (mask_MT.sum(1, keepdim=True) > 1)
    z_BND = z_B2TD.flatten(1, 2)  # N = 2T, the second view's tokens after the first's
    count = z_BND.shape[1]
    real_BN = None if whole else mask_MT[mine].repeat(1, 2)
    partners_N = torch.arange(count, device=mask_MT.device).roll(count // 2)
    nats_BN = Nats.apply(z_BND, 0, count, partners_N, real_BN)
    summed = torch.where(counted_MT[mine].repeat(1, 2), nats_BN, 0.0).sum()
    return summed / (2 * counted_MT.sum()).clamp(min=1)


class Nats(torch.autograd.Function):
    """The cross-entropy of anchors choosing their partners among the real keys of their group but themselves: (G, A).

    The anchors are the keys from `start` to `stop`. By hand, because the scores are by far the largest tensor of the
    loss: one copy of them is kept, and where all keys are anchors both parts of the gradient are one product.
    """

    @staticmethod
    def forward(ctx, keys_GND, start, stop, partners_N, real_GN):
        """Return the nats; `real_GN` None says that all keys are real."""
        ctx.start, ctx.stop = start, stop
        anchors_GAD = keys_GND[:, start:stop]
        scores_GAN = anchors_GAD @ keys_GND.transpose(1, 2)
        # The least finite number in place of -inf: a group without a real key then has a finite gradient.
        least = torch.finfo(scores_GAN.dtype).min
        scores_GAN.diagonal(start, 1, 2).fill_(least)
        if real_GN is not None:
            scores_GAN.masked_fill_(~real_GN[:, None], least)
        partners_GA1 = partners_N[start:stop].expand(len(scores_GAN), -1)[..., None]
        positive_GA = scores_GAN.gather(2, partners_GA1)[..., 0]
        highest_GA = scores_GAN.amax(2) if scores_GAN.numel() else positive_GA  # without anchors there is no maximum
        raised_GAN = scores_GAN.sub_(highest_GA[..., None]).exp_()
        total_GA = raised_GAN.sum(2)
        ctx.save_for_backward(keys_GND, raised_GAN, total_GA, partners_GA1)
        return total_GA.log() + highest_GA - positive_GA

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_GA):
        """Return the gradient of the keys."""
        keys_GND, raised_GAN, total_GA, partners_GA1 = ctx.saved_tensors
        grad_GAN = raised_GAN * (grad_GA / total_GA)[..., None]
        grad_GAN.scatter_add_(2, partners_GA1, -grad_GA[..., None])
        if grad_GAN.shape[1] == grad_GAN.shape[2]:
            return (grad_GAN + grad_GAN.transpose(1, 2)) @ keys_GND, None, None, None, None
        grad_GND = grad_GAN.transpose(1, 2) @ keys_GND[:, ctx.start : ctx.stop]
        grad_GND[:, ctx.start : ctx.stop] += grad_GAN @ keys_GND
        return grad_GND, None, None, None, None
