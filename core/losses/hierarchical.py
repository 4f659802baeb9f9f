"""TS2Vec's hierarchical contrastive loss: aligned tokens of two views, at coarser and coarser scales.

Letters: B this rank's rows, M joined rows of all ranks, T aligned tokens, D width. Logits are dot products, as in
the paper, without a temperature. Everything is computed in fp32, or in fp64 when that comes in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives
from sensorium.types import valid_tokens


def hierarchical_contrastive(
    z1_BTD: Tensor,
    z2_BTD: Tensor,
    mask_BT: Tensor | None = None,
    alpha: float = 0.5,
    temporal_from: int = 0,
) -> Tensor:
    """TS2Vec: instance-wise and temporal contrast between aligned tokens of two views (Yue et al. 2022, eq. 1 to 3).

    A token's positive is the same token of the other view. The negatives of the instance-wise contrast are that token
    of other rows, in both views; those of the temporal contrast are other tokens of its row. Then tokens are
    max-pooled two by two, until one is left; the loss is the mean over these scales.

    Args:
        z1_BTD: this rank's tokens of the first view.
        z2_BTD: the aligned tokens of the second view.
        mask_BT: bool, which tokens are valid, in each row the first ones; None when all are. The pool of two tokens is
            valid when both are; a row without a valid token is masked out.
        alpha: weight of the instance-wise contrast, in [0, 1]; the temporal contrast has 1 - alpha.
        temporal_from: first scale, from 0, with the temporal contrast.

    Returns:
        This rank's share: the mean over ranks is the loss of the joined batch, whose rows are instances to each other
        across ranks. Tokens without a negative are excluded; without any other, the loss is zero.
    """
    unmasked = not collectives.any_rank(mask_BT is not None)  # then no key need be masked, at any scale
    mask_BT = valid_tokens(z1_BTD, mask_BT)
    with outside_autocast(z1_BTD):
        lengths = collectives.rank_sizes(mask_BT.shape[1])
        unmasked = unmasked and len(set(lengths)) == 1
        z_M2TD, mask_MT, first = _joined(z1_BTD, z2_BTD, mask_BT, max(lengths))
        mine = slice(first, first + len(z1_BTD))
        loss, scales = 0.0 * (z1_BTD.sum() + z2_BTD.sum()).to(z_M2TD.dtype), 0
        while z_M2TD.shape[2]:
            if alpha > 0:
                loss = loss + alpha * _instance(z_M2TD, mask_MT, mine, unmasked)
            if alpha < 1 and z_M2TD.shape[2] > 1 and scales >= temporal_from:
                loss = loss + (1 - alpha) * _temporal(z_M2TD[mine], mask_MT, mine, unmasked)
            scales += 1
            z_M2TD, mask_MT = _max_pool(z_M2TD, mask_MT)
        return collectives.share(loss, scales)


def _joined(z1_BTD: Tensor, z2_BTD: Tensor, mask_BT: Tensor, longest: int) -> tuple[Tensor, Tensor, int]:
    """Return both views (M, 2, T, D) and the mask (M, T) of all ranks, and the index of this rank's first row.

    T is the length of the longest records of any rank.
    """
    z_B2TD = torch.stack([z1_BTD, z2_BTD], dim=1)
    z_B2TD = at_least_fp32(z_B2TD)
    if longest > mask_BT.shape[1]:
        z_B2TD = F.pad(z_B2TD, (0, 0, 0, longest - mask_BT.shape[1]))
        mask_BT = F.pad(mask_BT, (0, longest - mask_BT.shape[1]), value=False)
    z_M2TD, first = collectives.all_gather(z_B2TD)
    mask_MT, _ = collectives.all_gather(mask_BT.to(torch.uint8))
    return z_M2TD, mask_MT.bool(), first


def _max_pool(z_M2TD: Tensor, mask_MT: Tensor) -> tuple[Tensor, Tensor]:
    """Max-pool tokens two by two; an odd last one is dropped."""
    half = z_M2TD.shape[2] // 2
    pairs_M2TpD = z_M2TD[:, :, : 2 * half].unflatten(2, (half, 2))
    return pairs_M2TpD.amax(3), mask_MT[:, : 2 * half].unflatten(1, (half, 2)).all(2)


def _instance(z_M2TD: Tensor, mask_MT: Tensor, mine: slice, unmasked: bool) -> Tensor:
    """Return this rank's sum, over the number on all ranks, of both views' tokens with a negative in another row."""
    counted_MT = mask_MT & (mask_MT.sum(0) > 1)
    keys_TND = z_M2TD.permute(2, 0, 1, 3).flatten(1, 2)  # N = 2M, a row's views side by side
    valid_TN = None if unmasked else mask_MT.T.repeat_interleave(2, 1)
    positive_N = torch.arange(2 * len(mask_MT), device=mask_MT.device) ^ 1
    loss_TA = PairCrossEntropy.apply(keys_TND, 2 * mine.start, 2 * mine.stop, positive_N, valid_TN)
    summed = torch.where(counted_MT[mine].T.repeat_interleave(2, 1), loss_TA, 0.0).sum()
    return summed / (2 * counted_MT.sum()).clamp(min=1)


def _temporal(z_B2TD: Tensor, mask_MT: Tensor, mine: slice, unmasked: bool) -> Tensor:
    """Return this rank's sum, over the number on all ranks, of both views' tokens with a negative in the same row."""
    counted_MT = mask_MT & (mask_MT.sum(1, keepdim=True) > 1)
    z_BND = z_B2TD.flatten(1, 2)  # N = 2T, the second view's tokens after the first's
    count = z_BND.shape[1]
    valid_BN = None if unmasked else mask_MT[mine].repeat(1, 2)
    positive_N = torch.arange(count, device=mask_MT.device).roll(count // 2)
    loss_BN = PairCrossEntropy.apply(z_BND, 0, count, positive_N, valid_BN)
    summed = torch.where(counted_MT[mine].repeat(1, 2), loss_BN, 0.0).sum()
    return summed / (2 * counted_MT.sum()).clamp(min=1)


class PairCrossEntropy(torch.autograd.Function):
    """InfoNCE (G, A) of anchors over the valid keys of their group but themselves.

    The anchors are the keys from `start` to `stop`. A custom backward, because the logits are by far the largest
    tensor of the loss: one copy of them is saved, and where all keys are anchors the gradient is one product.
    """

    @staticmethod
    def forward(ctx, keys_GND, start, stop, positive_N, valid_GN):
        """Return the cross-entropies in nats; with `valid_GN` None all keys are valid."""
        ctx.start, ctx.stop = start, stop
        anchors_GAD = keys_GND[:, start:stop]
        logits_GAN = anchors_GAD @ keys_GND.transpose(1, 2)
        # The lowest finite number instead of -inf: a group without a valid key then has a finite gradient.
        lowest = torch.finfo(logits_GAN.dtype).min
        logits_GAN.diagonal(start, 1, 2).fill_(lowest)
        if valid_GN is not None:
            logits_GAN.masked_fill_(~valid_GN[:, None], lowest)
        index_GA1 = positive_N[start:stop].expand(len(logits_GAN), -1)[..., None]
        positive_GA = logits_GAN.gather(2, index_GA1)[..., 0]
        max_GA = logits_GAN.amax(2) if logits_GAN.numel() else positive_GA  # without anchors there is no maximum
        exp_GAN = logits_GAN.sub_(max_GA[..., None]).exp_()
        total_GA = exp_GAN.sum(2)
        ctx.save_for_backward(keys_GND, exp_GAN, total_GA, index_GA1)
        return total_GA.log() + max_GA - positive_GA

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_GA):
        """Return the gradient of the keys."""
        keys_GND, exp_GAN, total_GA, index_GA1 = ctx.saved_tensors
        grad_GAN = exp_GAN * (grad_GA / total_GA)[..., None]
        grad_GAN.scatter_add_(2, index_GA1, -grad_GA[..., None])
        if grad_GAN.shape[1] == grad_GAN.shape[2]:
            return (grad_GAN + grad_GAN.transpose(1, 2)) @ keys_GND, None, None, None, None
        grad_GND = grad_GAN.transpose(1, 2) @ keys_GND[:, ctx.start : ctx.stop]
        grad_GND[:, ctx.start : ctx.stop] += grad_GAN @ keys_GND
        return grad_GND, None, None, None, None
