"""The wav2vec 2.0 network of torchaudio over waveforms.

Letters: B clips, S samples, T tokens (frames of the convolutions), D width, K kept tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.models import wav2vec2_model

from sensorium import Features, LayerStack, TokenEncoder, Tokens, at_least_one_row, take_tokens
from sensorium.errors import RecipeError
from sensorium.modalities.audio.encoders.frames import Frames, mono_waveforms, standardized
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.signal.positions import sinusoidal_positions

LAYERS = [(10, 5), *[(3, 2)] * 4, (2, 2), (2, 2)]
"""Kernel and stride of the convolutions: a frame of 400 samples every 320, 20 ms at 16 kHz (Baevski et al. 2020)."""


class Wav2Vec2Encoder(TokenEncoder):
    """wav2vec 2.0 (Baevski et al. 2020): a convolutional feature encoder over waveforms, then a transformer.

    Each clip is normalized to mean 0 and variance 1. Convolutions have layer norm, not the group norm of the paper's
    base model, whose statistics include padding. A clip shorter than the receptive field of a frame is zero-padded.
    Positions are a convolution over the visible tokens, with mask tokens in place of masked ones, as in the paper, plus
    sine-cosine positions, which predictors of absent tokens need. Features do not depend on padding.

    Args:
        modality: the audio modality, of one channel.
        width: D, width of the tokens, a multiple of 16 and of `heads`.
        depth: number of transformer blocks.
        heads: number of attention heads.
        features: channels of the convolutional feature encoder.
        dropout: dropout probability on attention and residual branches.
    """

    def __init__(
        self,
        modality: AudioModality,
        width: int = 256,
        depth: int = 4,
        heads: int = 4,
        features: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if modality.channels != 1:
            raise RecipeError(f"The encoder 'wav2vec2' takes one channel, not {modality.channels}: set channels to 1.")
        if width % 16 or width % heads:
            raise RecipeError(
                f"The width of the encoder 'wav2vec2' is a multiple of 16 and of its {heads} heads; {width} is not."
            )
        model = wav2vec2_model(
            extractor_mode="layer_norm",
            extractor_conv_layer_config=[(features, kernel, stride) for kernel, stride in LAYERS],
            extractor_conv_bias=True,
            encoder_embed_dim=width,
            encoder_projection_dropout=dropout,
            encoder_pos_conv_kernel=31,
            encoder_pos_conv_groups=16,
            encoder_num_layers=depth,
            encoder_num_heads=heads,
            encoder_attention_dropout=dropout,
            encoder_ff_interm_features=4 * width,
            encoder_ff_interm_dropout=dropout,
            encoder_dropout=dropout,
            encoder_layer_norm_first=True,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
        self.convolutions, self.project = model.feature_extractor, model.encoder.feature_projection
        self.transformer = model.encoder.transformer
        self.norm = torch.nn.LayerNorm(width)
        self.frames = Frames(LAYERS)
        self.dim, self.target_dim = width, self.frames.hop

    def tokenize(self, batch: SignalBatch) -> Tokens:
        """Run the feature encoder: one token (B, T, D) for every window of samples."""
        x_BS = self._waves(batch)
        x_BTD = self.project(self.convolutions(x_BS, None)[0])
        positions_TD = sinusoidal_positions(x_BTD.shape[1], self.dim, batch.device)
        return Tokens(x_BTD, positions_TD[None].to(x_BTD.dtype), self.frames.mask(batch, x_BTD.shape[1]))

    def _waves(self, batch: SignalBatch) -> Tensor:
        """Return waveforms of mean 0 and variance 1, float (B, S), padded to at least one window."""
        return self.frames.pad(standardized(mono_waveforms(batch, "wav2vec2"), batch))

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode frames, or those at `keep` (B, K)."""
        mask_BT = tokens.mask
        visible_BT = mask_BT if keep is None else torch.zeros_like(mask_BT).scatter(1, keep, mask_BT.gather(1, keep))
        x_BTD = (tokens.x + tokens.positions).masked_fill(~visible_BT[..., None], 0.0)
        x_BTD = x_BTD + self.transformer.pos_conv_embed(x_BTD)
        if keep is not None:
            x_BTD, mask_BT = take_tokens(x_BTD, keep), take_tokens(mask_BT, keep)
        # A row without valid kept tokens attends to all of them: its features are finite, and pooled to zero.
        seen_BT = mask_BT | ~mask_BT.any(1, keepdim=True)
        seen_B1TT = seen_BT[:, None, None].expand(-1, 1, seen_BT.shape[1], -1)
        x_BTD = self.transformer.dropout(self.transformer.layer_norm(x_BTD))
        x_BTD, seen_B1TT = at_least_one_row(x_BTD), at_least_one_row(seen_B1TT)
        for layer in self.transformer.layers:
            x_BTD, _ = layer(x_BTD, seen_B1TT)
        x_BTD = self.norm(x_BTD[: len(mask_BT)]) * mask_BT[..., None]
        return Features(pool_tokens(x_BTD, mask_BT, "mean"), x_BTD, mask_BT)

    def layer_stack(self) -> LayerStack:
        """Return its transformer blocks, and the final norm behind them; convolutions lie before them."""
        return LayerStack(self.transformer.layers, [self.norm], self.norm)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the samples at the center of each window, float (B, T, P), P the hop."""
        return self.frames.centers(self._waves(batch))
