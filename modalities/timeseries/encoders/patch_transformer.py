"""Patch transformer for time series.

Letters: B series, C channels, S time steps, T tokens (patches), P values of a patch, D width, K kept tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens, at_least_one_row, check_range
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.signal.positions import sinusoidal_positions
from sensorium.modalities.timeseries.encoders.pre_norm import pre_norm_transformer
from sensorium.modalities.timeseries.modality import TimeSeriesModality


class PatchTransformer(TokenEncoder):
    """Patch transformer, as PatchTST but with all channels in one token (Nie et al. 2023); pre-norm.

    Sinusoidal position embeddings (Vaswani et al. 2017) allow series of any length; the last patch is zero-padded. A
    token's target is its values, in which a missing one counts as zero, the channel's center. Padding changes no
    feature.

    Args:
        modality: the time series modality, fitted.
        patch: patch length in steps.
        width: embedding width, even and divisible by `heads`.
        depth: number of transformer blocks.
        heads: number of attention heads.
        dropout: dropout in attention and MLP while training, 0 to 1.
        causal: causal attention: a patch attends to itself and the ones before it, as the objectives next-token and
            next-embedding need.
    """

    def __init__(
        self,
        modality: TimeSeriesModality,
        patch: int = 8,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        check_range("encoder 'patch-transformer'", "[1, inf)", patch=patch)
        self.dim, self.patch, self.target_dim = width, patch, patch * modality.fixed_channels("patch-transformer")
        self.heads, self.is_causal = heads, causal
        self.embed = nn.Linear(self.target_dim, width)
        self.blocks = pre_norm_transformer("patch-transformer", width, depth, heads, dropout)

    def tokenize(self, batch: SignalBatch) -> Tokens:
        """Cut series into patches, embedded to (B, T, D); a patch with one valid step is valid."""
        x_BTD = self.embed(self.token_targets(batch))
        starts_T = self.patch * torch.arange(x_BTD.shape[1], device=batch.device)
        positions_TD = sinusoidal_positions(x_BTD.shape[1], self.dim, batch.device)
        return Tokens(x_BTD, positions_TD[None].to(x_BTD.dtype), starts_T < batch.lengths[:, None])

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, valid_BT = at_least_one_row(tokens.x + tokens.positions), at_least_one_row(tokens.valid())
        keep, rows = None if keep is None else at_least_one_row(keep), len(tokens.x)
        # A row of which no valid token is kept attends to all its tokens: its features are finite, and pooled to zero.
        padding_BT = ~valid_BT & valid_BT.any(1, keepdim=True)
        causal_mask = self._causal_mask(x_BTD, keep) if self.is_causal else None
        in_order = self.is_causal and keep is None
        # Told whether the mask is the causal one, torch need not look, for which the host would wait.
        x_BTD = self.blocks(x_BTD, causal_mask, padding_BT, is_causal=in_order) * valid_BT[..., None]
        return Features(pool_tokens(x_BTD, valid_BT, "mean")[:rows], x_BTD[:rows], valid_BT[:rows])

    def layer_stack(self) -> LayerStack:
        """Return its blocks, and the final norm behind them."""
        return LayerStack(self.blocks.layers, [self.blocks.norm], self.blocks.norm)

    def _causal_mask(self, x_BTD: Tensor, keep: Tensor | None) -> Tensor:
        """Return the causal attention mask, True where not allowed: bool (T, T), of kept patches (B * heads, T, T)."""
        if keep is None:
            index_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
            return index_T > index_T[:, None]
        return (keep[:, None, :] > keep[:, :, None]).repeat_interleave(self.heads, dim=0)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the values of each patch, float (B, T, P): C x patch."""
        count = (batch.values.shape[2] + self.patch - 1) // self.patch
        padded_BCS = F.pad(batch.values, (0, self.patch - 1))[..., : count * self.patch]
        patches_BCTp = padded_BCS.unflatten(2, (count, self.patch))
        return patches_BCTp.transpose(1, 2).flatten(2)
