"""Masking: of channels, of time steps, and of patches for masked objectives. Masked values count as missing.

Letters: B series, C channels, T time steps or tokens, P patches of a channel.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range, take_tokens
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.channel_batch import ChannelSetBatch
from sensorium.modalities.timeseries.modality import TimeSeriesModality


class PatchMask(ViewGenerator):
    """Span masking of patches for masked objectives: one view, the series itself (Zerveas et al. 2021, section 3.2).

    A span cannot be interpolated from its neighbors alone. The view carries `info["masked"]`, bool (B, tokens): True
    where the token is masked; and `info["masked steps"]`, bool (B, T) or (B, C, T), for previews. Of a series with at
    least two tokens, at least one is masked and one visible.

    Args:
        patch: steps of a patch, as in the encoder, >= 1.
        mask_ratio: fraction of the patches that is masked, .01 to .99; the paper's is .15.
        span: mean number of patches in a masked span, >= 1; 1 masks each patch independently.
        across: what is masked together: "time", spans of time in all channels (a tube); with the modality's
            `channels: any`, where each channel has tokens of its own, also "channels", each of them whole (of a series
            of one channel, spans of it), or "none", spans of each channel by itself.
    """

    info = ("masked",)

    def __init__(
        self,
        modality: TimeSeriesModality,
        patch: int = 8,
        mask_ratio: float = 0.5,
        span: float = 3.0,
        across: Literal["time", "channels", "none"] = "time",
    ) -> None:
        check_range("views 'patch-mask'", "[1, inf)", patch=patch, span=span)
        check_range("views 'patch-mask'", "[0.01, 0.99]", mask_ratio=mask_ratio)
        if across != "time" and not modality.any_channels:
            raise RecipeError(
                f"The option across: {across} of the views 'patch-mask' masks channels apart from each other, and "
                "tokens are of all channels together: set the modality's channels to any, or across to time."
            )
        self.patch, self.mask_ratio, self.span, self.across = patch, mask_ratio, span, across

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the series with its mask."""
        if isinstance(batch, ChannelSetBatch):
            per_step = self._mask_of_sets(batch, rng)
            masked_BT = take_tokens(per_step.flatten(1), batch.token_order(self.patch)[0])
        else:
            valid_BT = batch.valid[:, :: self.patch]
            masked_BT = draw_spans(valid_BT, self.mask_ratio, self.span, rng) & valid_BT
            masked_BT = per_step = masked_and_visible(masked_BT, valid_BT, rng)
        steps = per_step.repeat_interleave(self.patch, dim=-1)[..., : batch.values.shape[2]]
        return [View(batch, info={"masked": masked_BT, "masked steps": steps})]

    def _mask_of_sets(self, batch: ChannelSetBatch, rng: torch.Generator) -> Tensor:
        """Return which patches of each channel are masked, bool (B, C, P)."""
        valid_BCP = batch.valid_patches(self.patch)
        b, c, p = valid_BCP.shape
        if self.across == "time":
            valid_BP = valid_BCP.any(1)
            masked_BP = draw_spans(valid_BP, self.mask_ratio, self.span, rng) & valid_BP
            masked_BCP = masked_and_visible(masked_BP, valid_BP, rng)[:, None].expand(-1, c, -1)
        else:
            masked_BCP = draw_spans(valid_BCP.flatten(0, 1), self.mask_ratio, self.span, rng).view(b, c, p)
        if self.across == "channels":
            own_BC = valid_BCP.any(2)
            draw_BC = torch.rand(b, c, generator=rng, device=batch.device).masked_fill(~own_BC, 2.0)
            rank_BC = draw_BC.argsort(1).argsort(1)
            count_B1 = own_BC.sum(1, keepdim=True)
            masked_B1 = (self.mask_ratio * count_B1).round().clamp(min=1).minimum(count_B1 - 1)
            whole_BCP = (rank_BC < masked_B1)[..., None].expand(-1, -1, p)
            masked_BCP = torch.where((count_B1 > 1)[..., None], whole_BCP, masked_BCP)
        masked_BT = (masked_BCP & valid_BCP).flatten(1)
        return masked_and_visible(masked_BT, valid_BCP.flatten(1), rng).view(b, c, p)


class ChannelDropout(ViewGenerator):
    """Channel dropout: each view lacks channels at random, other ones in each view; one always stays.

    With the modality's `channels: any` they are gone, as if the series never had them; else their values are missing.

    Args:
        views: number of views, >= 1.
        p: probability that a channel is dropped, 0 to 1.
    """

    views = 2

    def __init__(self, modality: TimeSeriesModality, views: int = 2, p: float = 0.5) -> None:
        check_range("views 'channel-dropout'", "[1, inf)", views=views)
        check_range("views 'channel-dropout'", "[0, 1]", p=p)
        self.views, self.p = views, p

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each without channels of its own."""
        return [View(drop_channels(batch, self.p, rng)) for _ in range(self.views)]


def masked_and_visible(masked_BT: Tensor, valid_BT: Tensor, rng: torch.Generator) -> Tensor:
    """Return a mask with at least one token of each row masked and one visible, where it has two.

    Args:
        masked_BT: bool, which tokens are masked, valid ones only.
        valid_BT: bool, the padding mask.
        rng: a generator on their device.
    """
    draw_BT = torch.rand(valid_BT.shape, generator=rng, device=valid_BT.device).masked_fill(~valid_BT, -1.0)
    chosen_BT = valid_BT & (draw_BT == draw_BT.amax(1, keepdim=True))
    masked_BT = masked_BT | (chosen_BT & ~masked_BT.any(1, keepdim=True))
    return masked_BT & ~(chosen_BT & (masked_BT == valid_BT).all(1, keepdim=True))


def drop_channels(batch: SignalBatch, p: float, rng: torch.Generator) -> SignalBatch:
    """Channel dropout: mask each channel with probability `p`; one observed channel always stays."""
    draw_BC = torch.rand(batch.values.shape[:2], generator=rng, device=batch.device)
    draw_BC = draw_BC.masked_fill(~batch.observed.any(2), -1.0)
    masked_BC = (draw_BC < p) & (draw_BC < draw_BC.amax(1, keepdim=True))
    return batch.without_channels(masked_BC)


def mask_steps(batch: SignalBatch, ratio: float, span: float, rng: torch.Generator) -> SignalBatch:
    """Mask a fraction of the time steps, in all channels; one observed step always stays.

    A `span` of 1 masks each step independently (the binomial mask of TS2Vec). With a larger one masked spans have that
    mean length, and visible spans the one that the ratio implies: a two-state Markov chain (Zerveas et al. 2021,
    section 3.2).
    """
    masked_BT = draw_spans(batch.valid, ratio, span, rng)
    observed_BT = batch.observed.any(1)
    draw_BT = torch.rand(observed_BT.shape, generator=rng, device=batch.device).masked_fill(~observed_BT, -1.0)
    chosen_BT = draw_BT == draw_BT.amax(1, keepdim=True)
    empty_B1 = ~(observed_BT & ~masked_BT).any(1, keepdim=True)
    return batch.masked((masked_BT & ~(empty_B1 & chosen_BT))[:, None])


def draw_spans(valid_BT: Tensor, ratio: float, span: float, rng: torch.Generator) -> Tensor:
    """Draw which steps are masked, bool like `valid_BT`: independently with a `span` of 1, or else in spans."""
    if span == 1:
        return torch.rand(valid_BT.shape, generator=rng, device=valid_BT.device) < ratio
    return _markov_spans(valid_BT, ratio, span, rng)


def _markov_spans(valid_BT: Tensor, ratio: float, span: float, rng: torch.Generator) -> Tensor:
    """Alternate masked and visible spans of geometric lengths until the row is full."""
    (b, t), device = valid_BT.shape, valid_BT.device
    draw_BT = 1 - torch.rand(b, t, generator=rng, device=device, dtype=torch.float64)
    first_B1 = torch.rand(b, 1, generator=rng, device=device) < ratio
    masked_BT = first_B1 ^ (torch.arange(t, device=device) % 2 == 1)  # of the spans, not yet of the steps
    # A geometric variable of mean m is 1 + floor(log u / log(1 - 1/m)); a mean of at most 1 is always 1.
    on, off = (math.log(1 - 1 / mean) if mean > 1 else -math.inf for mean in (span, span * (1 - ratio) / ratio))
    lengths_BT = 1 + (draw_BT.log() / torch.where(masked_BT, on, off)).floor()
    ends_BT = lengths_BT.clamp(max=t).long().cumsum(1)  # of integers, whose sums are deterministic on every device
    steps_BT = torch.arange(t, device=device).expand(b, t).contiguous()
    return masked_BT.gather(1, torch.searchsorted(ends_BT, steps_BT, right=True).clamp(max=t - 1))
