"""The head by which a text model was pretrained to predict tokens. Letters: B texts, T tokens, D width, V ids."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from sensorium.modalities.transformers_models import loaded


class _Passes(nn.Module):
    """Stands for the model under a head, and returns the tokens that it is given."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=inputs_embeds)  # type: ignore[arg-type]


class TokenHead(nn.Module):
    """The language-modeling head of an architecture, without the model under it.

    Args:
        model: a model with such a head; the model under the head is left out.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        setattr(model, model.base_model_prefix, _Passes())
        self.model = copy.deepcopy(model)  # a classifier that was tied to the embedding has a copy of it

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        logits_BTV: Tensor = self.model(inputs_embeds=tokens_BTD).logits
        return logits_BTV


def token_head(
    config: PreTrainedConfig, is_causal: bool, model: PreTrainedModel, heads: Mapping[str, Tensor]
) -> TokenHead | None:
    """Return the head of an architecture, or None where the library has none for it.

    Args:
        config: of the model.
        is_causal: whether the head predicts the next token, or masked ones.
        model: the model under the head, to whose embedding its classifier is tied at the start.
        heads: what a file had besides the model; what it lacks is random.
    """
    mapping: Any = MODEL_FOR_CAUSAL_LM_MAPPING if is_causal else MODEL_FOR_MASKED_LM_MAPPING
    if config.is_encoder_decoder or type(config) not in mapping:
        return None
    cls = mapping[type(config)]
    prefix = cls.base_model_prefix
    stored = {f"{prefix}.{name}": tensor for name, tensor in model.state_dict().items()}
    whole, _ = loaded(cls, config, {**stored, **heads})
    if not isinstance(getattr(whole, prefix, None), nn.Module):
        return None
    head = TokenHead(whole)
    with torch.no_grad():
        logits = head(torch.zeros(1, 1, config.hidden_size))
    return head if logits.shape == (1, 1, config.vocab_size) else None
