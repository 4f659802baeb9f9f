"""wav2vec 2.0, HuBERT, WavLM and their like of Hugging Face transformers, over waveforms.

Letters: B clips, S samples, C channels of the feature encoder, T tokens (its frames), D width, K kept tokens, H heads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensorium import Features, LayerStack, Tokens, at_least_one_row, take_tokens
from sensorium.errors import RecipeError
from sensorium.modalities.audio.encoders.frames import Frames, mono_waveforms, standardized
from sensorium.modalities.audio.encoders.transformers_folder import (
    MASK,
    Pool,
    PretrainedAudio,
    attended_tokens,
    first_tensor,
    visible_tokens,
)
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.signal.positions import sinusoidal_positions

if TYPE_CHECKING:
    from sensorium.modalities.audio.modality import AudioModality

LAYOUTS = (
    # fine-tuned files of fairseq, DDP
    (r"^(w2v_encoder\.)?w2v_model\.", ""),
    # fairseq: wav2vec 2.0, HuBERT, data2vec
    (r"^mask_emb$", MASK),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.2\.(1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"^encoder\.pos_conv\.(\d+)\.0\.", r"encoder.pos_conv_embed.layers.\1.conv."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
    # torchaudio
    (r"^model\.(?=feature_extractor\.|encoder\.)", ""),
    (r"^mask_generator\.mask_embedding$", MASK),
    (r"^encoder\.feature_projection\.", "feature_projection."),
    (r"^encoder\.transformer\.", "encoder."),
    (r"\.attention\.attention\.", ".attention."),
    # weight norm before torch 2
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)
"""Names in files of fairseq, unilm (WavLM) and torchaudio, and those of transformers; applied in this order."""


HEADS = (
    *(
        "quantizer.*",
        "project_q.*",
        "project_hid.*",
        "final_proj.*",
        "ctc_proj.*",
        "speaker_proj.*",
        "logit_generator.*",
    ),
    *("label_embs_concat", "label_embeddings_concat", "layer_norm_for_extract.*", "adapter.*", "layer_weights"),
    *(
        "lm_head.*",
        "aux.*",
        "proj.*",
        "classifier.*",
        "projector.*",
        "tdnn.*",
        "objective.*",
        "feature_extractor.weight",
    ),
    *("feature_extractor.bias", "regression_head.*"),
)
"""What files of pretrained and of fine-tuned models have behind the encoder."""


class WaveformTransformer(PretrainedAudio):
    """wav2vec 2.0, HuBERT, data2vec-audio or UniSpeech of transformers.

    A clip gives the same features alone and in a batch with longer ones, also where the feature encoder normalizes over
    time (`feat_extract_norm: group`): its statistics are of valid frames alone. SpecAugment and layer drop are off:
    what is masked is up to the objective.
    """

    default_preprocessing = "Wav2Vec2FeatureExtractor"
    lacks = (f"model.{MASK}",)
    ignores = tuple(f"model.{name}" for name in (MASK, *HEADS))

    def __init__(self, modality: AudioModality, model: str, pool: Pool = "auto", max_length: int | None = None) -> None:
        super().__init__(modality, model, pool, max_length)
        config = self.config
        self.frames = Frames(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.target_dim = self.frames.hop

    def _network(self, config: Any, max_length: int | None) -> nn.Module:
        """Return the model without what fine-tuning puts behind its last block."""
        if getattr(config, "conv_pos_batch_norm", False):
            raise RecipeError(
                f"The model '{self.name}' has batch norm before its position convolution, whose statistics would "
                "include masked frames: choose one without conv_pos_batch_norm."
            )
        config.add_adapter = False
        return super()._network(config, max_length)

    @property
    def is_stable(self) -> bool:
        """Whether blocks are pre-norm, with a norm behind the last one; else post-norm, with one before the first."""
        return bool(getattr(self.config, "do_stable_layer_norm", False))

    def layer_stack(self) -> LayerStack:
        """Return its transformer blocks, and the final norm where it has one."""
        network: Any = self.model.encoder
        norm = network.layer_norm if self.is_stable else None
        return LayerStack(list(network.layers), [] if norm is None else [norm], norm)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of transformers, torchaudio or fairseq under its own names."""
        own = set(self.model.state_dict())
        return {f"model.{name}": tensor for name, tensor in _named_as_transformers(weights, own).items()}

    def _waves(self, batch: SignalBatch) -> Tensor:
        """Return waveforms as the model takes them, float (B, S), padded to at least one frame."""
        x_BS = mono_waveforms(batch, "transformers")
        return self.frames.pad(standardized(x_BS, batch) if self.prepares.do_normalize else x_BS)

    def tokenize(self, batch: SignalBatch) -> Tokens:
        """Run the feature encoder: one token (B, T, D) for every window of samples."""
        network: Any = self.model
        x_BTC = self._convolve(at_least_one_row(self._waves(batch)), batch).transpose(1, 2)
        x_BTD = first_tensor(network.feature_projection(x_BTC))[: len(batch)]
        positions_TD = sinusoidal_positions(x_BTD.shape[1], self.dim, batch.device)
        return Tokens(x_BTD, positions_TD[None].to(x_BTD.dtype), self.frames.mask(batch, x_BTD.shape[1]))

    def _convolve(self, x_BS: Tensor, batch: SignalBatch) -> Tensor:
        """Return the output of the feature encoder, float (B, C, T)."""
        network: Any = self.model
        x_BCT = x_BS[:, None]
        for depth, layer in enumerate(network.feature_extractor.conv_layers, 1):
            if isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                x_BCT = layer.conv(x_BCT)
                valid_BT = at_least_one_row(self.frames.mask(batch, x_BCT.shape[2], depth))
                x_BCT = layer.activation(_norm_over_valid(layer.layer_norm, x_BCT, valid_BT))
            else:
                x_BCT = layer(x_BCT)
        return x_BCT

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode frames, or those at `keep` (B, K): what is left out is zeroed before the position convolution."""
        network: Any = self.model.encoder
        mask_BT = tokens.valid()
        x_BTD, count = self._add_positions(tokens.x, visible_tokens(mask_BT, keep)), mask_BT.shape[1]
        if keep is not None:
            x_BTD, mask_BT = take_tokens(x_BTD, keep), take_tokens(mask_BT, keep)
        x_BTD, seen_BT = at_least_one_row(x_BTD), attended_tokens(at_least_one_row(mask_BT))
        if not self.is_stable:
            x_BTD = network.layer_norm(x_BTD)
        x_BTD = network.dropout(x_BTD)
        arguments = self._attention(seen_BT, keep, count)
        for layer in network.layers:
            x_BTD = first_tensor(layer(x_BTD, **arguments))
        if self.is_stable:
            x_BTD = network.layer_norm(x_BTD)
        x_BTD = x_BTD[: len(mask_BT)] * mask_BT[..., None]
        return Features(pool_tokens(x_BTD, mask_BT, "mean"), x_BTD, mask_BT)

    def _add_positions(self, x_BTD: Tensor, visible_BT: Tensor) -> Tensor:
        """Return tokens with their position convolution, of which those that are not visible are no part."""
        network: Any = self.model.encoder
        x_BTD = at_least_one_row(x_BTD.masked_fill(~visible_BT[..., None], 0.0))
        return (x_BTD + network.pos_conv_embed(x_BTD))[: len(visible_BT)]

    def _attention(self, seen_BK: Tensor, keep_BK: Tensor | None, count: int) -> dict[str, Any]:
        """Return what blocks are told about the tokens.

        Args:
            seen_BK: which of them attention sees, bool (B, K).
            keep_BK: their places, int64 (B, K); None is all.
            count: T, the number of all tokens.
        """
        return {"attention_mask": seen_BK[:, None, None].expand(-1, 1, seen_BK.shape[1], -1)}

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the samples at the center of each frame, as the model takes them: float (B, T, P), P the hop."""
        return self.frames.centers(self._waves(batch))


class WavLM(WaveformTransformer):
    """WavLM of transformers: a bias of relative positions, gated by content, in every block."""

    def _attention(self, seen_BK: Tensor, keep_BK: Tensor | None, count: int) -> dict[str, Any]:
        """Return the mask, and the bias of the kept tokens' own distances, float (B * H, K, K)."""
        network: Any = self.model.encoder
        bias_HTT = network.layers[0].attention.compute_bias(count, count)
        if keep_BK is None:
            bias_BHKK = bias_HTT.expand(len(seen_BK), -1, -1, -1)
        else:
            keep_BK = at_least_one_row(keep_BK)
            bias_BHKK = bias_HTT[:, keep_BK[:, :, None], keep_BK[:, None]].transpose(0, 1)
        return {"attention_mask": seen_BK, "position_bias": bias_BHKK.flatten(0, 1)}


class Data2VecAudio(WaveformTransformer):
    """data2vec of transformers: several position convolutions, each behind the other."""

    def _add_positions(self, x_BTD: Tensor, visible_BT: Tensor) -> Tensor:
        """Return tokens with their position convolutions; none passes on what lies at tokens that are not visible."""
        network: Any = self.model.encoder
        hidden_B1T = ~at_least_one_row(visible_BT)[:, None]
        content_BDT = at_least_one_row(x_BTD).transpose(1, 2).masked_fill(hidden_B1T, 0.0)
        positions_BDT = content_BDT
        for layer in network.pos_conv_embed.layers:
            positions_BDT = layer(positions_BDT).masked_fill(hidden_B1T, 0.0)
        return (content_BDT + positions_BDT).transpose(1, 2)[: len(x_BTD)]


def _norm_over_valid(norm: nn.GroupNorm, x_BCT: Tensor, valid_BT: Tensor) -> Tensor:
    """Return the group norm of one channel a group with statistics over valid frames, as of each clip alone."""
    with torch.autocast(x_BCT.device.type, enabled=False):
        x_BCT, valid_B1T = x_BCT.float(), valid_BT[:, None]
        count_B11 = valid_B1T.sum(2, keepdim=True).clamp(min=1)
        mean_BC1 = x_BCT.masked_fill(~valid_B1T, 0.0).sum(2, keepdim=True) / count_B11
        centered_BCT = x_BCT - mean_BC1
        var_BC1 = centered_BCT.masked_fill(~valid_B1T, 0.0).square().sum(2, keepdim=True) / count_B11
        return centered_BCT * (var_BC1 + norm.eps).rsqrt() * norm.weight[:, None] + norm.bias[:, None]


def _named_as_transformers(weights: Mapping[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """Return weights under the names of transformers, those of attention in one matrix cut into three."""
    named: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        name = re.sub(r"^(wav2vec2|hubert|wavlm|data2vec_audio|unispeech|unispeech_sat|wav2vec2_conformer)\.", "", name)
        for pattern, new in LAYOUTS if name not in own else ():
            name = re.sub(pattern, new, name)
        if (match := re.fullmatch(r"(.*\.attention\.)in_proj_(weight|bias)", name)) is not None:
            names = [f"{match[1]}{part}_proj.{match[2]}" for part in "qkv"]
            named.update(zip(names, tensor.chunk(3), strict=True))
        else:
            named[name] = tensor
    return named
