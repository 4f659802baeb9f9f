"""Token masks: which tokens are masked, which blocks are predicted.

One rule of randomness. An objective draws here from torch's global generators, which the training loop seeds from
(seed, step, rank, part); a view generator draws from the generator that it is handed, and puts its mask in
`View.info["masked"]`. An objective uses the mask of a view that has one, and draws nothing.

Masks are bool, True where a token is masked. Several masks of each record are masks of `tokens.repeat(copies)`, which
draws one for each copy. Tokens on a grid lie row by row; a sequence is a grid of one row. Letters:
B records, T tokens, D width, N target blocks, H and W height and width of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.blocks.token_decoder import token_counts, token_indices
from sensorium.contracts import Encoder, TokenEncoder, Tokens
from sensorium.errors import RecipeError
from sensorium.types import View

Range = tuple[float, float]


def view_mask(view: View, tokens: Tokens) -> Tensor | None:
    """Return the mask of the view, valid tokens only, (B, T); None where the view has none.

    Args:
        view: B records; the mask in its `info["masked"]`, bool (B, T), comes first.
        tokens: their T tokens.

    Raises:
        RecipeError: when the view has replaced its masked tokens already, so that their content is lost; when it
            masks another number of tokens than there are; when the tokens are of several copies of each record.
    """
    if "masked" not in view.info:
        return None
    if view.target is not None:
        raise RecipeError(
            "The views have replaced their masked tokens already, and carry them as their target, which is for the "
            "objective 'masked-token': choose views that leave tokens as they are, such as 'plain'."
        )
    masked_BT = view.info["masked"]
    if masked_BT.shape[1] != tokens.x.shape[1]:
        raise RecipeError(
            f"The views mask {masked_BT.shape[1]} tokens of each record of '{view.modality}', and the encoder has "
            f"{tokens.x.shape[1]}: give both the same patches, or choose views that mask tokens of its kind."
        )
    if len(masked_BT) != len(tokens.x):
        raise RecipeError(
            f"The views of '{view.modality}' bring one mask of each record, and the objective masks "
            f"{len(tokens.x) // len(masked_BT)} copies of each: set its option masks to 1, or choose views without "
            "masks, such as 'plain'."
        )
    return masked_BT & tokens.valid()


def random_mask(view: View, tokens: Tokens, ratio: float) -> Tensor:
    """Return the mask of the view, or one drawn uniformly among all of the same ratio (He et al. 2022, section 3).

    Of each record round(ratio x its valid tokens) are masked, but at least one is masked and one visible where it has
    two tokens; a record of one token has none masked.

    Args:
        view: B records; the mask in its `info["masked"]`, bool (B, T), comes first.
        tokens: their T tokens.
        ratio: fraction of a record's valid tokens that is masked, in (0, 1).
    """
    if (masked_BT := view_mask(view, tokens)) is not None:
        return masked_BT
    valid_BT = tokens.valid()
    count_B = valid_BT.sum(1)
    masked_B = (ratio * count_B).round().clamp(min=1).minimum(count_B - 1)
    noise_BT = torch.rand_like(valid_BT, dtype=torch.float).masked_fill(~valid_BT, torch.inf)
    return noise_BT.argsort(dim=1).argsort(dim=1) < masked_B[:, None]


def random_mask_counts(view: View, tokens: Tokens, ratio: float, masked_BT: Tensor) -> list[int]:
    """Return how many visible and how many masked tokens `token_indices` takes of each row of a `random_mask`.

    Those of a mask that was drawn follow from the number of tokens; the mask of a view is counted.

    Args:
        view: B records.
        tokens: their T tokens.
        ratio: as for `random_mask`.
        masked_BT: bool, what `random_mask` returned.
    """
    if "masked" in view.info:
        valid_BT = tokens.valid()
        return token_counts((valid_BT & ~masked_BT, ~valid_BT), (masked_BT, ~masked_BT))
    t = masked_BT.shape[1]
    masked = min(max(_rounded_in_fp32(ratio, t), 1), t - 1)
    return [t - masked, masked]


def split_masked(view: View, tokens: Tokens, ratio: float, masked_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the indices of the visible and of the masked tokens of a `random_mask`, for encoder and decoder.

    Args:
        view: B records.
        tokens: their T tokens.
        ratio: as for `random_mask`.
        masked_BT: bool, what `random_mask` returned.

    Returns:
        visible int64 (B, K), padding among them where a record is short; masked int64 (B, M); and bool (B, M), which of
        these are masked, see `token_indices`.
    """
    valid_BT = tokens.valid()
    visible, masked = random_mask_counts(view, tokens, ratio, masked_BT)
    visible_BK, _ = token_indices(valid_BT & ~masked_BT, ~valid_BT, visible)
    return visible_BK, *token_indices(masked_BT, ~masked_BT, masked)


@torch.compiler.assume_constant_result
def _rounded_in_fp32(ratio: float, count: int) -> int:
    """Return round(ratio x count) as the device computes it."""
    return int((np.float32(ratio) * np.float32(count)).round())


def dirichlet_masks(valid: Sequence[Tensor], visible: float, alpha: float) -> list[Tensor]:
    """Draw the masks of several modalities of the same records (MultiMAE, Bachmann et al. 2022, section 3.2).

    Of all valid tokens of a record round(visible x their number) are visible, but at least one, and one is masked where
    it has two. Their shares among the modalities that it has are drawn from a symmetric Dirichlet distribution; what
    rounding down leaves over goes to modalities drawn in proportion to what rounding took from them, so that the
    expected counts are the shares, whatever the order of modalities. A modality has no more visible tokens than valid
    ones: a share beyond that is not handed on to others, so that a record may be shown by its short modalities alone.
    Within a modality visible tokens are drawn uniformly.

    Args:
        valid: of each modality, which tokens of the B records are valid, bool (B, T), none where a record lacks it.
        visible: fraction of a record's tokens that is visible, in (0, 1).
        alpha: concentration of the Dirichlet distribution, > 0: the smaller, the more often one alone is shown.

    Returns:
        Of each modality bool (B, T), True at masked tokens.
    """
    lengths_BM = torch.stack([valid_BT.sum(1) for valid_BT in valid], dim=1)
    total_B1 = lengths_BM.sum(1, keepdim=True)
    budget_B1 = (visible * total_B1).round().clamp(min=1).minimum((total_B1 - 1).clamp(min=1))
    exact_BM = _dirichlet(lengths_BM > 0, alpha) * budget_B1
    counts_BM = exact_BM.floor()
    left_B1 = (budget_B1 - counts_BM.sum(1, keepdim=True)).round()
    gumbel_BM = -(-torch.rand_like(exact_BM).clamp(min=1e-30).log()).log()
    order_BM = ((exact_BM - counts_BM).log() + gumbel_BM).argsort(1, descending=True).argsort(1)
    counts_BM = (counts_BM + (order_BM < left_B1)).minimum(lengths_BM)
    masks = []
    for valid_BT, count_B in zip(valid, counts_BM.unbind(1), strict=True):
        noise_BT = torch.rand_like(valid_BT, dtype=torch.float).masked_fill(~valid_BT, torch.inf)
        masks.append(valid_BT & (noise_BT.argsort(1).argsort(1) >= count_B[:, None]))
    return masks


def visible_bound(visible: float, lengths: Sequence[int]) -> int:
    """Return the largest number of visible tokens that a record can have by `dirichlet_masks`, known on the host.

    Args:
        visible: as for `dirichlet_masks`.
        lengths: T of each modality.
    """
    total = sum(lengths)
    return max(min(_rounded_in_fp32(visible, total), total - 1), 1)


def _dirichlet(present_BM: Tensor, alpha: float) -> Tensor:
    """Draw shares (B, M) among what is present, of a symmetric Dirichlet distribution; zero elsewhere.

    In the logarithm, since gamma variates of a small alpha underflow: G(alpha) = G(alpha + 1) U^(1 / alpha).
    """
    shape = torch.full(present_BM.shape, alpha + 1, dtype=torch.float, device=present_BM.device)
    rate = torch.ones((), device=present_BM.device)
    log_gamma_BM = torch.distributions.Gamma(shape, rate, validate_args=False).sample().log()
    log_BM = log_gamma_BM + torch.rand_like(shape).clamp(min=1e-30).log() / alpha
    log_BM = torch.where(present_BM, log_BM, -torch.inf)
    return torch.where(present_BM, log_BM.softmax(1), 0.0)  # a record of nothing has shares of nothing, not nan


def flat_indices(mask: Tensor, count: int) -> Tensor:
    """Return the indices of the True entries of a flattened mask, int64 (N,); their number N is known on the host.

    Args:
        mask: bool, any shape.
        count: N, number of its True entries.
    """
    return (~mask.flatten()).to(torch.uint8).argsort(stable=True)[:count]


def random_ratio_mask(view: View, tokens: Tokens, ratio: Range, probability: float) -> Tensor:
    """Return the mask of the view, or one whose ratio is drawn for each record (iBOT, Zhou et al. 2022, section 3.1).

    Args:
        view: B records.
        tokens: their T tokens.
        ratio: least and greatest ratio of masked to valid tokens of a record, drawn uniformly.
        probability: that a record is masked at all.
    """
    if (masked_BT := view_mask(view, tokens)) is not None:
        return masked_BT
    valid_BT, (low, high) = tokens.valid(), ratio
    (b, t), device = valid_BT.shape, valid_BT.device
    ratio_B1 = low + (high - low) * torch.rand(b, 1, device=device)
    ratio_B1 = ratio_B1 * (torch.rand(b, 1, device=device) < probability)
    # Padding comes last in the random order, so that ratios are of valid tokens.
    order_BT = torch.rand(b, t, device=device).masked_fill(~valid_BT, 2.0).argsort(1).argsort(1)
    return (order_BT < (ratio_B1 * valid_BT.sum(1, keepdim=True)).round()) & valid_BT


def span_mask(view: View, tokens: Tokens, probability: float, length: int) -> Tensor:
    """Return the mask of the view, or random spans of masked tokens (Baevski et al. 2020, section 3.1).

    Every valid token starts a span of `length` tokens with `probability`; spans may overlap and end with the record. At
    least one span is masked and one token visible where a record has two tokens; a record of one has none masked.

    Args:
        view: B records; the mask in its `info["masked"]`, bool (B, T), comes first.
        tokens: their T tokens.
        probability: that a token starts a span, in [0, 1]; the paper's is 0.065.
        length: tokens of a span, >= 1; the paper's is 10.
    """
    if (masked_BT := view_mask(view, tokens)) is not None:
        return masked_BT
    valid_BT = tokens.valid()
    noise_BT = torch.rand_like(valid_BT, dtype=torch.float).masked_fill(~valid_BT, torch.inf)
    starts_BT = (noise_BT < probability) | (noise_BT == noise_BT.amin(1, keepdim=True))
    padded_BT = F.pad(starts_BT.float(), (length - 1, 0))
    masked_BT = (F.max_pool1d(padded_BT[:, None], length, stride=1)[:, 0] > 0) & valid_BT
    last_BT = noise_BT == noise_BT.masked_fill(~valid_BT, -torch.inf).amax(1, keepdim=True)
    full_B1 = (masked_BT | ~valid_BT).all(1, keepdim=True)
    return masked_BT & ~(full_B1 & last_BT)


def inverse_block_mask(
    view: View, tokens: Tokens, grid: tuple[int, int] | None, ratio: float, aspect_ratio: Range = (0.5, 2.0)
) -> Tensor:
    """Return the mask of the view, or all tokens but one block that wraps around the edges (CAPI, Darcet et al. 2025).

    At least one token is masked and one visible where a record has two tokens; a record of one token has none masked.

    Args:
        view: B records; the mask in its `info["masked"]`, bool (B, T), comes first.
        tokens: their T tokens.
        grid: rows and columns of the encoder's tokens; None for a sequence, of which a span is visible.
        ratio: fraction of a record's valid tokens that is masked, in (0, 1), up to rounding to a rectangle.
        aspect_ratio: least and greatest height over width of the visible block, both relative to the record's.
    """
    if (masked_BT := view_mask(view, tokens)) is not None:
        return masked_BT
    valid_BHW = valid_on_grid(tokens, grid)
    visible_BT = block_mask(valid_BHW, (1 - ratio, 1 - ratio), aspect_ratio, wraps=True).flatten(1)
    valid_BT = valid_BHW.flatten(1)
    noise_BT = torch.rand_like(valid_BT, dtype=torch.float).masked_fill(~valid_BT, torch.inf)
    one_BT = valid_BT & (noise_BT == noise_BT.amin(1, keepdim=True))
    is_whole_B1 = (visible_BT | ~valid_BT).all(1, keepdim=True) & (valid_BT.sum(1, keepdim=True) > 1)
    return valid_BT & (~visible_BT | (is_whole_B1 & one_BT))


def mask_token(encoder: Encoder, random_D: Tensor) -> nn.Parameter:
    """Return the learned mask token (D,) of an objective: it starts from the encoder's own, if that was pretrained.

    Args:
        encoder: whose tokens are masked.
        random_D: float, what it starts from otherwise.
    """
    own_D = encoder.mask_embedding() if isinstance(encoder, TokenEncoder) else None
    return nn.Parameter(random_D if own_D is None else own_D.detach().clone())


def replace_masked(tokens: Tokens, masked_BT: Tensor, mask_token_D: Tensor) -> Tokens:
    """Return the tokens, masked ones replaced with the mask token; positions stay.

    Args:
        tokens: T tokens of B records.
        masked_BT: bool, True where a token is masked.
        mask_token_D: float, learned.
    """
    return replace(tokens, x=torch.where(masked_BT[..., None], mask_token_D.to(tokens.x.dtype), tokens.x))


def valid_on_grid(tokens: Tokens, grid: tuple[int, int] | None) -> Tensor:
    """Return which tokens are valid, (B, H, W), on the encoder's grid; without a grid they are a sequence.

    Args:
        tokens: T tokens of B records.
        grid: rows and columns (H, W) of the encoder's tokens; None for a sequence.

    Raises:
        RecipeError: when the tokens do not fill the grid.
    """
    b, t, _ = tokens.x.shape
    h, w = grid or (1, t)
    if h * w != t:
        raise RecipeError(
            f"Block masks are drawn on the encoder's grid of {h}x{w}, but its views have {t} tokens: choose views of "
            "the size that the encoder is made for."
        )
    return tokens.valid().view(b, h, w)


def block_mask(valid_BHW: Tensor, scale: Range, aspect_ratio: Range, wraps: bool = False) -> Tensor:
    """Draw one rectangle of tokens for each record, within the part of the grid where its tokens are valid.

    Args:
        valid_BHW: which tokens are valid.
        scale: least and greatest fraction of that part that the rectangle covers, drawn uniformly.
        aspect_ratio: least and greatest height over width, both relative to that part, drawn uniformly.
        wraps: whether it may begin anywhere and goes on at the opposite edge, so that every token is as likely in it.

    Returns:
        (B, H, W), at least one token of each record that has any.
    """
    rows_BH, columns_BW = valid_BHW.any(2), valid_BHW.any(1)
    h_B1, w_B1 = rows_BH.sum(1, keepdim=True), columns_BW.sum(1, keepdim=True)
    scale_B1, aspect_B1 = _uniform(h_B1, *scale), _uniform(h_B1, *aspect_ratio)
    height_B1 = (h_B1 * (scale_B1 * aspect_B1).sqrt()).round().clamp(min=1).minimum(h_B1)
    width_B1 = (scale_B1 * h_B1 * w_B1 / height_B1).round().clamp(min=1).minimum(w_B1)
    inside = []
    for used_BN, length_B1, size_B1 in ((rows_BH, h_B1, height_B1), (columns_BW, w_B1, width_B1)):
        starts_B1 = length_B1.clamp(min=1) if wraps else length_B1 - size_B1 + 1
        start_B1 = (_uniform(size_B1, 0, 1) * starts_B1).floor()
        from_start_BN = used_BN.cumsum(1) - 1 - start_B1
        from_start_BN = from_start_BN.remainder(starts_B1) if wraps else from_start_BN
        inside.append(used_BN & (from_start_BN >= 0) & (from_start_BN < size_B1))
    return inside[0][:, :, None] & inside[1][:, None, :] & valid_BHW


def context_and_targets(
    valid_BHW: Tensor, count: int, context_scale: Range, target_scale: Range, aspect_ratio: Range
) -> tuple[Tensor, Tensor]:
    """Draw the context block and `count` target blocks (I-JEPA, Assran et al. 2023, section 3).

    The context is a block of aspect ratio 1 without the tokens of any target. Where targets cover all of it, one random
    token of it is context and in no target.

    Args:
        valid_BHW: which tokens are valid.
        count: N, number of target blocks.
        context_scale: fraction of the tokens that the context block covers, from and to.
        target_scale: fraction that each target covers, from and to.
        aspect_ratio: of targets, from and to (see `block_mask`).

    Returns:
        context (B, T), at least one token of every record; targets (N, B, T), in one of them at least one token of
        every record whose context block has two.
    """
    targets_NBT = torch.stack([block_mask(valid_BHW, target_scale, aspect_ratio).flatten(1) for _ in range(count)])
    block_BT = block_mask(valid_BHW, context_scale, (1.0, 1.0)).flatten(1)
    context_BT = block_BT & ~targets_NBT.any(0)
    noise_BT = torch.rand_like(block_BT, dtype=torch.float).masked_fill(~block_BT, -math.inf)
    first_BT = block_BT & (noise_BT == noise_BT.amax(1, keepdim=True))
    rescued_BT = first_BT & ~context_BT.any(1, keepdim=True)
    return context_BT | rescued_BT, targets_NBT & ~rescued_BT


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    return torch.rand_like(like, dtype=torch.float) * (high - low) + low
