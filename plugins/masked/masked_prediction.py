"""Predictions of masked tokens: by an encoder that sees mask tokens, or by a predictor behind one that sees the others.

Letters: B records, T tokens, K visible tokens, M masked tokens, D width of a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from sensorium import Features, TokenEncoder, TokenPredictor, masking, take_tokens, token_counts, token_indices


@dataclass(frozen=True)
class Predictor:
    """A predictor behind an encoder that sees the visible tokens alone.

    Args:
        depth: number of blocks of cross-attention, >= 1.
        width: width of its tokens.
        heads: attention heads; they divide `width`.
    """

    depth: int = 2
    width: int = 128
    heads: int = 4


class Predicted(NamedTuple):
    """Predictions of masked tokens.

    Args:
        features: what the encoder made of what it saw.
        x_BMD: a prediction for each of the tokens.
        index_BM: int64, which tokens these are.
        mask_BM: bool, which of them are masked, not filling.
    """

    features: Features
    x_BMD: Tensor
    index_BM: Tensor
    mask_BM: Tensor


class MaskedPrediction(nn.Module):
    """Masks tokens of a view, and predicts them.

    Args:
        encoder: whose tokens are masked.
        mask: "tokens", "spans" or "inverse-block".
        ratio: fraction of each record's tokens that is masked.
        length: tokens of a span.
        predictor: None for an encoder that sees mask tokens.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        mask: Literal["tokens", "spans", "inverse-block"],
        ratio: float,
        length: int,
        predictor: Predictor | None,
    ) -> None:
        super().__init__()
        self.mask, self.ratio, self.length, self.grid = mask, ratio, length, encoder.grid
        self.predictor: TokenPredictor | None = None
        if predictor is None:
            self.dim = encoder.token_dim
            self.mask_token = masking.mask_token(encoder, torch.randn(self.dim) * 0.02)
        else:
            self.dim = predictor.width
            self.predictor = TokenPredictor(encoder.token_dim, predictor.width, predictor.depth, predictor.heads)

    def forward(self, view: Any, encode: Any) -> Predicted:
        """Mask tokens of a view, and predict them."""
        tokens = encode.tokenize(view)
        masked_BT, valid_BT = self.masked(view, tokens), tokens.valid()
        visible, masked = self.counts(view, tokens, masked_BT)
        masked_BM, mask_BM = token_indices(masked_BT, ~masked_BT, masked)
        if self.predictor is None:
            features = encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token))
            return Predicted(features, take_tokens(features.tokens, masked_BM), masked_BM, mask_BM)
        visible_BK, _ = token_indices(valid_BT & ~masked_BT, ~valid_BT, visible)
        features = encode.encode_tokens(view, tokens, visible_BK)
        x_BMD = self.predictor(features, tokens.positions, visible_BK, masked_BM)
        return Predicted(features, x_BMD, masked_BM, mask_BM)

    def masked(self, view: Any, tokens: Any) -> Tensor:
        """Return which tokens are masked, bool (B, T)."""
        if self.mask == "spans":
            starts = 1 - (1 - self.ratio) ** (1 / self.length)  # spans overlap: so many mask the ratio
            return masking.span_mask(view, tokens, starts, self.length)
        if self.mask == "inverse-block":
            return masking.inverse_block_mask(view, tokens, self.grid, self.ratio)
        return masking.random_mask(view, tokens, self.ratio)

    def counts(self, view: Any, tokens: Any, masked_BT: Tensor) -> list[int]:
        """Return how many visible and how many masked tokens of each record are taken."""
        if self.mask == "tokens":
            return masking.random_mask_counts(view, tokens, self.ratio, masked_BT)
        valid_BT = tokens.valid()
        return token_counts((valid_BT & ~masked_BT, ~valid_BT), (masked_BT, ~masked_BT))
