"""The encoder `transformer` as a model of Hugging Face transformers: XLM-RoBERTa-XL is a pre-norm transformer too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sensorium.modalities.text.batch import PAD

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sensorium.modalities.text.encoders.transformer import Transformer

EPS = 1e-5
"""That of its layer norms."""


def as_xlm_roberta_xl(encoder: Transformer) -> PreTrainedModel:
    """Return a model of transformers with the same tokens.

    Its maps have biases and it knows types of tokens, which are zero here; its positions start behind that of padding.
    A causal encoder is its decoder.
    """
    from transformers import XLMRobertaXLConfig, XLMRobertaXLModel

    length, width = encoder.positions.shape
    config = XLMRobertaXLConfig(
        vocab_size=encoder.target_dim,
        hidden_size=width,
        num_hidden_layers=len(encoder.blocks),
        num_attention_heads=encoder.blocks[0].heads,  # type: ignore[arg-type]
        intermediate_size=4 * width,
        hidden_act="gelu",
        hidden_dropout_prob=encoder.dropout,
        attention_probs_dropout_prob=encoder.dropout,
        max_position_embeddings=PAD + 1 + length,
        type_vocab_size=1,
        layer_norm_eps=EPS,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=None,
        is_decoder=encoder.is_causal,
        use_cache=False,
    )
    with torch.random.fork_rng([]):  # its first weights are random, and replaced
        model = XLMRobertaXLModel(config)
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    model.load_state_dict(state | _weights(encoder))
    return model.eval()


def _weights(encoder: Transformer) -> dict[str, Tensor]:
    """Return the weights of an encoder under the names of XLM-RoBERTa-XL."""
    width = encoder.dim
    own = {name: tensor.detach() for name, tensor in encoder.state_dict().items()}
    named = {
        "embeddings.word_embeddings.weight": own["embed.weight"],
        "embeddings.position_embeddings.weight": torch.cat([torch.zeros(PAD + 1, width), own["positions"]]),
        "encoder.LayerNorm.weight": own["norm.weight"],
        "encoder.LayerNorm.bias": own["norm.bias"],
    }
    for number in range(len(encoder.blocks)):
        ours, theirs = f"blocks.{number}.", f"encoder.layer.{number}."
        for name, part in zip(("query", "key", "value"), own[f"{ours}qkv.weight"].split(width), strict=True):
            named[f"{theirs}attention.self.{name}.weight"] = part
        names = {
            "proj": "attention.output.dense",
            "fc1": "intermediate.dense",
            "fc2": "output.dense",
            "norm_attention": "attention.self_attn_layer_norm",
            "norm_mlp": "LayerNorm",
        }
        for name, other in names.items():
            named[f"{theirs}{other}.weight"] = own[f"{ours}{name}.weight"]
            if name.startswith("norm"):
                named[f"{theirs}{other}.bias"] = own[f"{ours}{name}.bias"]
    return named
