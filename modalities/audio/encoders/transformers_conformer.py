"""wav2vec 2.0 BERT of Hugging Face transformers, conformer blocks over log-mel filter banks.

Letters: B clips, T tokens (pairs of frames), F bands, D width, K kept tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensorium import Features, LayerStack, Tokens, at_least_one_row, take_tokens
from sensorium.modalities.audio.encoders.frames import mono_waveforms
from sensorium.modalities.audio.encoders.transformers_folder import (
    MASK,
    Pool,
    PretrainedAudio,
    attended_tokens,
    first_tensor,
    visible_tokens,
)
from sensorium.modalities.audio.fbank import kaldi_fbank, whole_frames, window_and_hop
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.signal.positions import sinusoidal_positions

if TYPE_CHECKING:
    from sensorium.modalities.audio.modality import AudioModality

FULL_SCALE = 2.0**15
"""Kaldi's waveforms are 16-bit integers."""
HEADS = (
    "lm_head.*",
    "classifier.*",
    "projector.*",
    "layer_weights",
    "tdnn.*",
    "objective.*",
    "adapter.*",
    "feature_extractor.*",
)


class Wav2Vec2Bert(PretrainedAudio):
    """wav2vec 2.0 BERT (Seamless Communication 2023) of transformers.

    Its convolutions in every block go from each frame to those before it, so that all frames are computed: what is left
    out is zero to the convolutions, and masked from attention.
    """

    since = 5
    default_preprocessing = "SeamlessM4TFeatureExtractor"
    lacks = (f"model.{MASK}",)
    ignores = tuple(f"model.{name}" for name in (MASK, *HEADS))

    def __init__(self, modality: AudioModality, model: str, pool: Pool = "auto", max_length: int | None = None) -> None:
        super().__init__(modality, model, pool, max_length)
        self.sample_rate, self.bands, self.stride = (
            modality.sample_rate,
            self.prepares.num_mel_bins,
            self.prepares.stride,
        )
        self.target_dim = self.stride * self.bands

    def _network(self, config: Any, max_length: int | None) -> nn.Module:
        """Return the model without what fine-tuning puts behind its last block."""
        config.add_adapter = False
        return super()._network(config, max_length)

    def layer_stack(self) -> LayerStack:
        """Return its conformer blocks."""
        network: Any = self.model
        behind = [network.intermediate_ffn] if network.intermediate_ffn is not None else []
        return LayerStack(list(network.encoder.layers), behind)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of transformers under its own names."""
        return {f"model.{name.removeprefix('wav2vec2_bert.')}": tensor for name, tensor in weights.items()}

    def _counts(self, batch: SignalBatch) -> Tensor:
        """Return the number of frames of each clip, int64 (B,), at least those of one token."""
        return whole_frames(batch.lengths, self.sample_rate).clamp(min=self.stride)

    def _frames(self, batch: SignalBatch) -> Tensor:
        """Return frames of mean 0 and variance 1 in each band of a clip, those of a token side by side: (B, T, P)."""
        x_BS, counts_B11 = FULL_SCALE * mono_waveforms(batch, "transformers"), self._counts(batch)[:, None, None]
        window, hop = window_and_hop(self.sample_rate)
        count = max(self.stride, (x_BS.shape[1] - window) // hop + 1)
        fbank_BTF = kaldi_fbank(x_BS, self.sample_rate, self.bands, count, "povey")
        valid_BT1 = torch.arange(count, device=batch.device)[:, None] < counts_B11
        mean_B1F = fbank_BTF.masked_fill(~valid_BT1, 0.0).sum(1, keepdim=True) / counts_B11
        centered_BTF = (fbank_BTF - mean_B1F).masked_fill(~valid_BT1, 0.0)
        var_B1F = centered_BTF.square().sum(1, keepdim=True) / (counts_B11 - 1)
        frames_BTF = (centered_BTF / (var_B1F + 1e-7).sqrt())[:, : count - count % self.stride]
        return frames_BTF.unflatten(1, (-1, self.stride)).flatten(2)

    def tokenize(self, batch: SignalBatch) -> Tokens:
        """Project pairs of frames to tokens (B, T, D)."""
        network: Any = self.model
        frames_BTP = self._frames(batch)
        x_BTD = first_tensor(network.feature_projection(at_least_one_row(frames_BTP)))[: len(batch)]
        positions_TD = sinusoidal_positions(x_BTD.shape[1], self.dim, batch.device)
        mask_BT = torch.arange(x_BTD.shape[1], device=batch.device) < (self._counts(batch) // self.stride)[:, None]
        return Tokens(x_BTD, positions_TD[None].to(x_BTD.dtype), mask_BT)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or those at `keep` (B, K), from a pass over all with the others masked."""
        network: Any = self.model
        mask_BT = tokens.valid()
        visible_BT = at_least_one_row(visible_tokens(mask_BT, keep))
        x_BTD = at_least_one_row(tokens.x).masked_fill(~visible_BT[..., None], 0.0)
        x_BTD = network.encoder.dropout(x_BTD)
        embed = network.encoder.embed_positions
        arguments = {
            "attention_mask": attended_tokens(visible_BT)[:, None, None].expand(-1, 1, visible_BT.shape[1], -1),
            "relative_position_embeddings": None if embed is None else embed(x_BTD),
            "conv_attention_mask": visible_BT,
        }
        for layer in network.encoder.layers:
            x_BTD = first_tensor(layer(x_BTD, **arguments))
        if network.intermediate_ffn is not None:
            x_BTD = x_BTD + 0.5 * network.intermediate_ffn(x_BTD)
        x_BTD = x_BTD[: len(mask_BT)]
        if keep is not None:
            x_BTD, mask_BT = take_tokens(x_BTD, keep), take_tokens(mask_BT, keep)
        x_BTD = x_BTD * mask_BT[..., None]
        return Features(pool_tokens(x_BTD, mask_BT, "mean"), x_BTD, mask_BT)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the normalized log-mels of the frames of each token, float (B, T, P)."""
        return self._frames(batch)
