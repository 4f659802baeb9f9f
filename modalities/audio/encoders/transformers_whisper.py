"""The encoder of Whisper, of Hugging Face transformers.

Letters: B clips, S samples, T tokens (pairs of frames), F bands, D width, K kept tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from sensorium import Features, LayerStack, Tokens, at_least_one_row
from sensorium.errors import RecipeError, check_range
from sensorium.modalities.audio.encoders.frames import mono_waveforms
from sensorium.modalities.audio.encoders.transformers_folder import (
    Pool,
    PretrainedAudio,
    attended_tokens,
    first_tensor,
)
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens

if TYPE_CHECKING:
    from sensorium.modalities.audio.modality import AudioModality

POSITIONS = "model.embed_positions.weight"
LAYOUTS = (
    (r"^(model\.)?encoder\.", ""),
    # OpenAI
    (r"^positional_embedding$", "embed_positions.weight"),
    (r"^blocks\.", "layers."),
    (r"^ln_post\.", "layer_norm."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.attn\.(query|key|value)\.", lambda match: f".self_attn.{match[1][0]}_proj."),
    (r"\.attn\.out\.", ".self_attn.out_proj."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
)
"""Names in files of transformers and of OpenAI, and those of the encoder; applied in this order."""


@dataclass
class ClipTokens(Tokens):
    """Tokens of which some may lie behind the end of their clip.

    Args:
        within: bool (B, T), which lie within it: these are pooled.
    """

    within: Tensor | None = None


class Whisper(PretrainedAudio):
    """The encoder of Whisper (Radford et al. 2022) of transformers.

    A clip is cut or padded to the length of the model, 30 s, or to `max_length`; silence behind its end is content, as
    in training, and is not pooled.
    """

    since = 5
    default_preprocessing = "WhisperFeatureExtractor"
    has_max_length = True
    ignores = (
        "model.decoder.*",
        "model.model.decoder.*",
        "model.proj_out.*",
        "model.projector.*",
        "model.classifier.*",
    )

    def __init__(self, modality: AudioModality, model: str, pool: Pool = "auto", max_length: int | None = None) -> None:
        super().__init__(modality, model, pool, max_length)
        self.bands, self.length = self.config.num_mel_bins, 2 * self.config.max_source_positions
        if self.prepares.feature_size != self.bands:
            raise RecipeError(
                f"The preprocessor_config.json of '{model}' has {self.prepares.feature_size} mel bands and its "
                f"config.json {self.bands}: mend the folder."
            )
        filters_NF = torch.from_numpy(self.prepares.mel_filters).float()
        self.register_buffer("mel_filters", filters_NF, persistent=False)
        self.target_dim = 2 * self.bands

    def _network(self, config: Any, max_length: int | None) -> nn.Module:
        """Return the encoder alone, with positions for its own length or a shorter one."""
        if max_length is not None:
            longest = 2 * config.max_source_positions
            check_range("encoder 'transformers'", f"[2, {longest}]", max_length=max_length)
            config.max_source_positions = max_length // 2
        return WhisperEncoder(config)

    def layer_stack(self) -> LayerStack:
        """Return its transformer blocks and its final norm."""
        network: Any = self.model
        return LayerStack(list(network.layers), [network.layer_norm], network.layer_norm)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of transformers or OpenAI under its own names, with positions for its own length."""
        named = {}
        for name, tensor in weights.items():
            for pattern, new in LAYOUTS if "decoder." not in name else ():
                name = re.sub(pattern, new, name)
            named[f"model.{name}"] = tensor
        if POSITIONS in named:
            named[POSITIONS] = named[POSITIONS][: self.length // 2]
        return named

    def _spectrograms(self, batch: SignalBatch) -> Tensor:
        """Return log-mels as the model takes them, float32 (B, F, frames)."""
        x_BS, (n_fft, hop) = mono_waveforms(batch, "transformers"), (self.prepares.n_fft, self.prepares.hop_length)
        samples = self.length * hop
        with torch.autocast(batch.device.type, enabled=False):  # half precision lacks the range of power spectra
            x_BS = F.pad(x_BS.float(), (0, max(0, samples - x_BS.shape[1])))[:, :samples]
            window = torch.hann_window(n_fft, device=batch.device)
            spectrum_BNT = torch.stft(at_least_one_row(x_BS), n_fft, hop, window=window, return_complex=True)
            power_BNT = spectrum_BNT[: len(batch), :, :-1].abs().square()
            mels_BFT = (self.get_buffer("mel_filters").T @ power_BNT).clamp(min=1e-10).log10()
            return (mels_BFT.maximum(at_least_one_row(mels_BFT).amax((1, 2), keepdim=True)[: len(batch)] - 8) + 4) / 4

    def tokenize(self, batch: SignalBatch) -> ClipTokens:
        """Convolve log-mels to one token (B, T, D) for two frames."""
        network: Any = self.model
        x_BDT = F.gelu(network.conv1(at_least_one_row(self._spectrograms(batch))))
        x_BTD = F.gelu(network.conv2(x_BDT))[: len(batch)].transpose(1, 2)
        positions_1TD = network.embed_positions.weight[None].to(x_BTD.dtype)
        starts_T = 2 * self.prepares.hop_length * torch.arange(x_BTD.shape[1], device=batch.device)
        return ClipTokens(x_BTD, positions_1TD, within=starts_T < batch.lengths[:, None])

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or those at `keep` (B, K)."""
        network: Any = self.model
        tokens = tokens if keep is None else tokens.take(keep)
        mask_BT = tokens.valid()
        x_BTD = at_least_one_row(tokens.x + tokens.positions)
        x_BTD = F.dropout(x_BTD, network.dropout, self.training)
        seen_BT = attended_tokens(at_least_one_row(mask_BT))
        seen_B1TT = seen_BT[:, None, None].expand(-1, 1, seen_BT.shape[1], -1)
        for layer in network.layers:
            x_BTD = first_tensor(layer(x_BTD, seen_B1TT))
        x_BTD = network.layer_norm(x_BTD)[: len(mask_BT)] * mask_BT[..., None]
        within_BT = mask_BT & tokens.within if isinstance(tokens, ClipTokens) and tokens.within is not None else mask_BT
        return Features(pool_tokens(x_BTD, within_BT, "mean"), x_BTD, mask_BT)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the log-mels of the two frames of each token, as the model takes them: float (B, T, P)."""
        return self._spectrograms(batch).unflatten(2, (-1, 2)).permute(0, 2, 3, 1).flatten(2)
