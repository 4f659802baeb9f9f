"""The audio spectrogram transformer (AST) of Hugging Face transformers.

Letters: B clips, T tokens (patches), R rows of them (frequency), N columns of them (time), D width, K kept tokens, P
values of a patch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, LayerStack, Tokens, at_least_one_row
from sensorium.errors import RecipeError, check_range
from sensorium.modalities.audio.encoders.frames import mono_waveforms
from sensorium.modalities.audio.encoders.transformers_folder import (
    Pool,
    PretrainedAudio,
    attended_tokens,
    first_tensor,
)
from sensorium.modalities.audio.fbank import kaldi_fbank, whole_frames
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens

if TYPE_CHECKING:
    from sensorium.modalities.audio.modality import AudioModality

POSITIONS = "model.embeddings.position_embeddings"
LAYOUTS = (
    (r"^(module\.)?audio_spectrogram_transformer\.", ""),
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"\.attention\.attention\.(query|key|value)\.", lambda match: f".attention.{match[1][0]}_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
"""Names in files of transformers before its version 5, and those since; applied in this order."""


class PretrainedSpectrogramTransformer(PretrainedAudio):
    """AST (Gong et al. 2021) of transformers, over Kaldi's log-mel filter banks of one length.

    A clip is cut or padded to the length of the model, as by its own library, to which silence is content: every patch
    is valid. Patches overlap, so that those that are left out are seen in part in those that are kept.
    """

    since = 5
    default_preprocessing = "ASTFeatureExtractor"
    has_prefix = has_max_length = True
    ignores = ("model.classifier.*",)

    def __init__(self, modality: AudioModality, model: str, pool: Pool = "auto", max_length: int | None = None) -> None:
        super().__init__(modality, model, pool, max_length)
        embeddings: Any = self.model.embeddings
        config = embeddings.config
        if self.prepares.num_mel_bins != config.num_mel_bins:
            raise RecipeError(
                f"The preprocessor_config.json of '{model}' has {self.prepares.num_mel_bins} mel bands and its "
                f"config.json {config.num_mel_bins}: mend the folder."
            )
        self.sample_rate, self.bands, self.length = modality.sample_rate, config.num_mel_bins, config.max_length
        self.grid = tuple(embeddings.get_shape(config))
        self.patch, self.strides = config.patch_size, (config.frequency_stride, config.time_stride)
        self.target_dim = self.patch**2

    def _network(self, config: Any, max_length: int | None) -> nn.Module:
        """Return the model with positions for spectrograms of its own length, or another one."""
        self.stored_columns = (config.max_length - config.patch_size) // config.time_stride + 1
        if max_length is not None:
            check_range("encoder 'transformers'", f"[{config.patch_size}, inf)", max_length=max_length)
            config.max_length = max_length
        return super()._network(config, max_length)

    def layer_stack(self) -> LayerStack:
        """Return its transformer blocks and its final norm; two class tokens are in front of the patches."""
        network: Any = self.model
        return LayerStack(list(network.layers), [network.layernorm], network.layernorm, prefix=2)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of transformers under its own names, with positions for its own length."""
        named = {}
        for name, tensor in weights.items():
            for pattern, new in LAYOUTS:
                name = re.sub(pattern, new, name)
            named[f"model.{name}"] = tensor
        if POSITIONS in named:
            named[POSITIONS] = self._fitted(named[POSITIONS])
        return named

    def _fitted(self, table_1PD: Tensor) -> Tensor:
        """Return a table of positions for as many columns as spectrograms have, as the authors of AST do.

        The middle of a longer one, or bilinear interpolation of a shorter one.
        """
        rows, columns = self.grid
        patches = table_1PD.shape[1] - 2
        if patches == rows * columns or patches % rows:
            return table_1PD
        prefix_12D, patches_1TD = table_1PD.split([2, patches], dim=1)
        grid_1DRN = patches_1TD.transpose(1, 2).unflatten(2, (rows, -1))
        if (wide := grid_1DRN.shape[3]) > columns:
            first = wide // 2 - columns // 2
            grid_1DRN = grid_1DRN[..., first : first + columns]
        else:
            grid_1DRN = F.interpolate(grid_1DRN, (rows, columns), mode="bilinear")
        return torch.cat([prefix_12D, grid_1DRN.flatten(2).transpose(1, 2)], dim=1)

    def _spectrograms(self, batch: SignalBatch) -> Tensor:
        """Return log-mel filter banks as the model takes them, float (B, time, bands)."""
        x_BS = mono_waveforms(batch, "transformers")
        fbank_BTF = kaldi_fbank(x_BS, self.sample_rate, self.bands, self.length)
        counts_B = whole_frames(batch.lengths, self.sample_rate)
        times_T = torch.arange(self.length, device=batch.device)
        # The library pads the filter banks, before they are normalized.
        fbank_BTF = fbank_BTF.masked_fill((times_T >= counts_B[:, None])[..., None], 0.0)
        if not self.prepares.do_normalize:
            return fbank_BTF
        return (fbank_BTF - self.prepares.mean) / (2 * self.prepares.std)

    def tokenize(self, batch: SignalBatch) -> Tokens:
        """Embed the patches of spectrograms, one band of frequencies after the other, to (B, T, D)."""
        embeddings: Any = self.model.embeddings
        x_BTD = embeddings.patch_embeddings(at_least_one_row(self._spectrograms(batch)))[: len(batch)]
        return Tokens(x_BTD, embeddings.position_embeddings[:, 2:].to(x_BTD.dtype))

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K)."""
        network: Any = self.model
        tokens = tokens if keep is None else tokens.take(keep)
        mask_BT, x_BTD = tokens.valid(), at_least_one_row(tokens.x + tokens.positions)
        x_BTD = network.embeddings.dropout(torch.cat([self._prefix(len(x_BTD)).to(x_BTD.dtype), x_BTD], dim=1))
        seen_BT = F.pad(at_least_one_row(attended_tokens(mask_BT)), (2, 0), value=True)
        seen_B1TT = seen_BT[:, None, None].expand(-1, 1, seen_BT.shape[1], -1)
        for layer in network.layers:
            x_BTD = first_tensor(layer(x_BTD, seen_B1TT))
        x_BTD = network.layernorm(x_BTD)[: len(mask_BT)]
        prefix_B2D, x_BTD = x_BTD.split([2, mask_BT.shape[1]], dim=1)
        x_BTD = x_BTD * mask_BT[..., None]
        pooled_BD = prefix_B2D.float().mean(1) if self.pools_prefix else pool_tokens(x_BTD, mask_BT, "mean")
        return Features(pooled_BD, x_BTD, mask_BT)

    def _prefix(self, count: int) -> Tensor:
        """Return the class and the distillation token with their positions, float (B, 2, D)."""
        embeddings: Any = self.model.embeddings
        prefix_12D = torch.cat([embeddings.cls_token, embeddings.distillation_token], dim=1)
        return (prefix_12D + embeddings.position_embeddings[:, :2]).expand(count, -1, -1)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the log-mels of each patch, normalized over the patch, float (B, T, P): bands x frames."""
        (high, wide), (down, along) = (self.patch, self.patch), self.strides
        bands_BFT = self._spectrograms(batch).transpose(1, 2)
        patches_BTP = bands_BFT.unfold(1, high, down).unfold(2, wide, along).flatten(3).flatten(1, 2)
        var_BT1, mean_BT1 = torch.var_mean(patches_BTP, dim=2, keepdim=True, correction=0)
        return (patches_BTP - mean_BT1) / (var_BT1 + 1e-6).sqrt()
