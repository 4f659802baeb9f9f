"""TS-TCC.

Letters: B records, T tokens, K future tokens, D width of the encoder, W width of the context.
"""

from __future__ import annotations

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, check_range, heads, losses, take_tokens
from sensorium.errors import RecipeError


class TSTCC(Objective):
    """TS-TCC: temporal and contextual contrasting of time series (Eldele et al. 2021).

    A transformer summarizes the tokens of one view up to a random time step to a context. From it, linear maps predict
    the other view's next tokens, contrasted with those of all records (temporal contrast); contexts of the two views of
    a record are a positive pair (contextual contrast, NT-Xent). The paper's views are `weak-strong`; tokens of the two
    views must be aligned.

    Args:
        future_steps: K, number of future tokens that are predicted, >= 1; the paper's is 40 % of a record's tokens.
        width: width of the transformer, divisible by `heads`.
        depth: number of transformer blocks.
        heads: attention heads of the transformer.
        temperature: softmax temperature of the contextual contrast, > 0.
        temporal_weight: lambda 1, weight of the temporal contrast.
        contextual_weight: lambda 2, weight of the contextual contrast.
    """

    needs = Needs(views=2)
    record_keys = ()
    remedy = "raise objective.temperature"

    def __init__(
        self,
        future_steps: int = 6,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        temperature: float = 0.2,
        temporal_weight: float = 1.0,
        contextual_weight: float = 0.7,
    ) -> None:
        super().__init__()
        check_range("objective 'ts-tcc'", "[1, inf)", future_steps=future_steps)
        if width % heads:
            raise RecipeError(f"The width of the objective 'ts-tcc' ({width}) must be a multiple of its {heads} heads.")
        self.future_steps, self.width, self.depth, self.heads = future_steps, width, depth, heads
        self.temperature, self.temporal_weight, self.contextual_weight = temperature, temporal_weight, contextual_weight

    def build(self, encoders):
        """Make the transformer, the linear predictors and the projection head of contexts."""
        encoders.require_sequence("ts-tcc")
        dim, width = encoders.single.token_dim, self.width
        self.enter, self.summary = nn.Linear(dim, width), nn.Parameter(torch.randn(1, 1, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, self.heads, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, self.depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.predict = nn.Linear(width, self.future_steps * dim)
        self.project = heads.projection_head(width, width, width)

    def forward(self, views, encode):
        """Contrast predicted tokens, and contexts."""
        (z1_BTD, mask_BT), (z2_BTD, other_mask_BT) = (self.tokens(features) for features in encode(views))
        if z1_BTD.shape != z2_BTD.shape:
            raise RecipeError("The objective 'ts-tcc' needs views whose tokens are aligned, such as weak-strong.")
        lengths_B = (mask_BT & other_mask_BT).sum(1)
        # The last time step of the context leaves future_steps valid tokens, where a record has that many.
        choices_B = (lengths_B - self.future_steps).clamp(min=1)
        last_B1 = (torch.rand(len(choices_B), device=choices_B.device) * choices_B).long()[:, None]
        past_BT = torch.arange(z1_BTD.shape[1], device=last_B1.device) <= last_B1
        future_BK = last_B1 + torch.arange(1, self.future_steps + 1, device=last_B1.device)
        valid_BK = future_BK < lengths_B[:, None]
        future_BK = future_BK.where(valid_BK, 0)
        c1_BW, c2_BW = self.context(z1_BTD, past_BT), self.context(z2_BTD, past_BT)
        temporal = sum(
            losses.future_info_nce(
                self.predict(c_BW).unflatten(1, (self.future_steps, -1)), take_tokens(z, future_BK), valid_BK
            )
            for c_BW, z in ((c1_BW, z2_BTD), (c2_BW, z1_BTD))
        )
        contextual = losses.nt_xent(self.project(c1_BW), self.project(c2_BW), self.temperature)
        loss = self.temporal_weight * temporal + self.contextual_weight * contextual
        logs = {"temporal": temporal.detach(), "contextual": contextual.detach()}
        return Outcome(loss, logs, {"context": c1_BW.detach()})

    def tokens(self, features):
        """Return the tokens (B, T, D) of a view, and which are valid (B, T), the first ones of each record."""
        if features.tokens is None:
            raise RecipeError("The objective 'ts-tcc' predicts tokens, and this encoder returns none: choose another.")
        return features.tokens, features.valid()

    def context(self, z_BTD, past_BT):
        """Return the context (B, W): a summary token's output over the past."""
        x_BTW = torch.cat([self.summary.expand(len(z_BTD), -1, -1), self.enter(z_BTD)], dim=1)
        masked_BT = ~nn.functional.pad(past_BT, (1, 0), value=True)
        return self.blocks(x_BTW, src_key_padding_mask=masked_BT)[:, 0]
