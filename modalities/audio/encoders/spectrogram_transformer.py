"""Transformer over patches of log-mel spectrograms.

Letters: B clips, C channels, F bands, S frames, T tokens (patches), P values of a patch, D width, K kept tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens, check_range
from sensorium.errors import RecipeError
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_parts, pool_tokens
from sensorium.modalities.signal.positions import sinusoidal_positions


class SpectrogramTransformer(TokenEncoder):
    """Audio spectrogram transformer (AST, Gong et al. 2021): a transformer over spectrogram patches.

    Positions are sine-cosine. Tokens are ordered by time, then by frequency, so that clips of any length are accepted;
    the last patch of a clip may be zero-padded. Features do not depend on padding.

    Args:
        modality: the audio modality, fitted.
        patch: bands and frames of a patch; the bands divide the modality's n_mels.
        width: D, width of the tokens, a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: number of attention heads.
        drop_path: stochastic depth rate of the last block, in [0, 1); it grows linearly from 0.
        parts: 1 pools by the mean of the tokens. With more, the means of so many overlapping parts are concatenated,
            which keeps the temporal order of short clips.
        normalize_targets: normalize each target patch to mean 0 and variance 1 (He et al. 2022, section 3).
        causal: causal attention: a patch attends to itself and the ones before it, as the objectives next-token and
            next-embedding need.
    """

    def __init__(
        self,
        modality: AudioModality,
        patch: tuple[int, int] = (16, 4),
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        drop_path: float = 0.0,
        parts: int = 1,
        normalize_targets: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(patch) < 1 or modality.n_mels % patch[0]:
            raise RecipeError(
                f"Patches of {patch[0]} bands and {patch[1]} frames do not tile {modality.n_mels} bands; set 'patch' "
                "of the encoder 'spectrogram-transformer' or the modality's n_mels."
            )
        if width % heads or width % 4:
            raise RecipeError(
                f"The width of the encoder 'spectrogram-transformer' is a multiple of 4 and of its {heads} heads; "
                f"{width} is not."
            )
        check_range("encoder 'spectrogram-transformer'", "[1, inf)", parts=parts)
        self.modality, self.patch, self.width, self.parts = modality, tuple(patch), width, parts
        self.dim, self.is_causal = width * parts, causal
        self.rows, self.normalize_targets = modality.n_mels // patch[0], normalize_targets
        self.target_dim = modality.channels * patch[0] * patch[1]
        self.embed = nn.Linear(self.target_dim, width)
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    @property
    def token_dim(self) -> int:
        """Width of a token."""
        return self.width

    def tokenize(self, batch: SignalBatch) -> Tokens:
        """Split spectrograms into patches and embed them to (B, T, D); a patch with one valid frame is valid."""
        patches_BTP, mask_BT = self._patches(batch)
        columns = patches_BTP.shape[1] // self.rows
        times, bands = (sinusoidal_positions(n, self.width // 2, batch.device) for n in (columns, self.rows))
        both = torch.cat([times[:, None].expand(-1, self.rows, -1), bands[None].expand(columns, -1, -1)], dim=2)
        x_BTD = self.embed(patches_BTP)
        return Tokens(x_BTD, both.flatten(0, 1)[None].to(x_BTD.dtype), mask_BT)

    def _patches(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Return the values of each patch, float (B, T, P), and which patches are valid."""
        mels, (high, wide) = self.modality.log_mels(batch), self.patch
        columns = (mels.values.shape[2] + wide - 1) // wide
        x_BCRhNw = F.pad(mels.values, (0, wide - 1))[..., : columns * wide].unflatten(2, (columns, wide))
        x_BCRhNw = x_BCRhNw.unflatten(1, (self.modality.channels, self.rows, high))
        patches_BTP = x_BCRhNw.permute(0, 4, 2, 1, 3, 5).flatten(3).flatten(1, 2)
        starts_N = wide * torch.arange(x_BCRhNw.shape[4], device=batch.device)
        mask_BT = (starts_N < mels.lengths[:, None]).repeat_interleave(self.rows, dim=1)
        return patches_BTP, mask_BT

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, mask_BT = tokens.x + tokens.positions, tokens.valid()
        # A row without valid kept tokens attends to all of them: its features are finite, and pooled to zero.
        seen = (mask_BT | ~mask_BT.any(1, keepdim=True))[:, None, None]
        if self.is_causal:
            seen = self._up_to_itself(x_BTD, keep) & seen
        for block in self.blocks:
            x_BTD = block(x_BTD, attn_mask=seen)
        x_BTD = self.norm(x_BTD) * mask_BT[..., None]
        pooled_BD = pool_tokens(x_BTD, mask_BT, "mean") if self.parts == 1 else pool_parts(x_BTD, mask_BT, self.parts)
        return Features(pooled_BD, x_BTD, mask_BT)

    def _up_to_itself(self, x_BTD: Tensor, keep: Tensor | None) -> Tensor:
        """Return which patches each may attend to, bool (1 or B, 1, T, T): itself and those before it."""
        index_BT = torch.arange(x_BTD.shape[1], device=x_BTD.device)[None] if keep is None else keep
        return (index_BT[:, None, :] <= index_BT[:, :, None])[:, None]

    def layer_stack(self) -> LayerStack:
        """Return its blocks, and the final norm behind them."""
        return LayerStack(self.blocks, [self.norm], self.norm)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the log-mels of each patch, float (B, T, P): C x bands x frames, each patch normalized by default."""
        patches_BTP, _ = self._patches(batch)
        if not self.normalize_targets:
            return patches_BTP
        var_BT1, mean_BT1 = torch.var_mean(patches_BTP, dim=-1, keepdim=True, correction=0)
        return (patches_BTP - mean_BT1) / (var_BT1 + 1e-6).sqrt()
