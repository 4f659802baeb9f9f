"""TS-TCC.

Letters: B records, T tokens, K tokens ahead, D width of the encoder, W width of the context.
"""

from __future__ import annotations

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, heads, losses, take_tokens
from sensorium.errors import RecipeError


class TSTCC(Objective):
    """Each view's past guesses the other view's next tokens, and both pasts are contrasted (Eldele et al. 2021).

    A transformer sums up the tokens of a record up to a random one; linear maps of that context, one for each step
    ahead, pick the other view's token among those of all records (temporal contrast); contexts of one record attract
    (contextual contrast, NT-Xent). The paper's views are `weak-strong`. Token for token the views show one moment.

    Args:
        ahead: K, how many tokens ahead are guessed; the paper takes 40 % of a record's tokens.
        width: of the transformer, divisible by `heads`.
        depth: number of its blocks.
        heads: its attention heads.
        temperature: of the contextual contrast.
        temporal: weight of the temporal contrast, lambda 1.
        contextual: weight of the contextual contrast, lambda 2.
    """

    needs = Needs(views=2)
    remedy = "raise objective.temperature"

    def __init__(
        self,
        ahead: int = 6,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        temperature: float = 0.2,
        temporal: float = 1.0,
        contextual: float = 0.7,
    ) -> None:
        super().__init__()
        if ahead < 1 or width % heads:
            raise RecipeError("The objective 'ts-tcc' looks ahead one token at least, and its heads divide its width.")
        self.ahead, self.width, self.depth, self.heads = ahead, width, depth, heads
        self.temperature, self.temporal, self.contextual = temperature, temporal, contextual

    def build(self, encoders):
        """Make the transformer, the guesses' linear maps and the head of the contextual contrast."""
        dim, width = encoders.single.token_dim, self.width
        self.enter, self.summary = nn.Linear(dim, width), nn.Parameter(torch.randn(1, 1, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, self.heads, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, self.depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.guess = nn.Linear(width, self.ahead * dim)
        self.project = heads.projection_head(width, width, width)

    def forward(self, views, encode):
        """Contrast futures and pasts."""
        (z1_BTD, mask_BT), (z2_BTD, also_BT) = (self.tokens(features) for features in encode(views))
        if z1_BTD.shape != z2_BTD.shape:
            raise RecipeError(
                "The objective 'ts-tcc' takes views that show the same moments token for token, such as weak-strong."
            )
        lengths_B = (mask_BT & also_BT).sum(1)
        # The last token of the past: all that are ahead are there, where a record has so many tokens.
        choices_B = (lengths_B - self.ahead).clamp(min=1)
        now_B1 = (torch.rand(len(choices_B), device=choices_B.device) * choices_B).long()[:, None]
        past_BT = torch.arange(z1_BTD.shape[1], device=now_B1.device) <= now_B1
        future_BK = now_B1 + torch.arange(1, self.ahead + 1, device=now_B1.device)
        there_BK = future_BK < lengths_B[:, None]
        future_BK = future_BK.where(there_BK, 0)
        c1_BW, c2_BW = self.context(z1_BTD, past_BT), self.context(z2_BTD, past_BT)
        temporal = sum(
            losses.future_info_nce(self.guess(c_BW).unflatten(1, (self.ahead, -1)), take_tokens(z, future_BK), there_BK)
            for c_BW, z in ((c1_BW, z2_BTD), (c2_BW, z1_BTD))
        )
        contextual = losses.nt_xent(self.project(c1_BW), self.project(c2_BW), self.temperature)
        loss = self.temporal * temporal + self.contextual * contextual
        logs = {"temporal": temporal.detach(), "contextual": contextual.detach()}
        return Outcome(loss, logs, {"context": c1_BW.detach()})

    def tokens(self, features):
        """Return the tokens (B, T, D) of a view and which are real (B, T), the first ones of each record."""
        if features.tokens is None:
            raise RecipeError("The objective 'ts-tcc' guesses tokens, and this encoder returns none: choose another.")
        return features.tokens, features.valid()

    def context(self, z_BTD, past_BT):
        """Sum up the past: (B, W), what a summary token has seen of it."""
        x_BTW = torch.cat([self.summary.expand(len(z_BTD), -1, -1), self.enter(z_BTD)], dim=1)
        unseen_BT = ~nn.functional.pad(past_BT, (1, 0), value=True)
        return self.blocks(x_BTW, src_key_padding_mask=unseen_BT)[:, 0]
