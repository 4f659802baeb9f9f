"""Text towers of open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from open_clip.factory import load_state_dict
from open_clip.model import _build_text_tower
from torch import Tensor

from sensorium import Encoder, Features, at_least_one_row
from sensorium.errors import RecipeError
from sensorium.modalities.open_clip import LOCAL, configuration, merge_projection
from sensorium.modalities.text.batch import PAD, TextBatch

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


class OpenClipText(Encoder):
    """Text tower of any open_clip architecture (Radford et al. 2021; Ilharco et al. 2021), projection included.

    The modality's tokenizer must be "open_clip:ARCH" of the same architecture.

    Args:
        model: name of the architecture; `open_clip.list_models()` lists them; or local-dir:PATH, a folder with a
            configuration and weights, as open_clip and `sensorium export --format open-clip` write it.
        checkpoint: path of a file with weights of the whole model or of the tower; random weights without one. A
            folder brings its own.
    """

    libraries = ("open_clip",)

    def __init__(self, modality: TextModality, model: str = "ViT-B-32", checkpoint: str | None = None) -> None:
        super().__init__()
        self.config = config = configuration(model)
        text = config["text_cfg"]
        if name := text.get("hf_model_name"):
            raise RecipeError(f"The text tower of '{model}' is '{name}': use the encoder 'transformers' for it.")
        self.dim = config["embed_dim"]
        self.tower = _build_text_tower(self.dim, text, config.get("quick_gelu", False))
        if modality.tokenizer.size != self.tower.vocab_size or modality.length > self.tower.context_length:
            raise RecipeError(
                f"The text tower of '{model}' reads {self.tower.context_length} tokens of a vocabulary of "
                f"{self.tower.vocab_size}, the modality gives {modality.length} of {modality.tokenizer.size}: set the "
                f"tokenizer to 'open_clip:{model}' and the length to at most {self.tower.context_length}."
            )
        if model.startswith(LOCAL):
            if checkpoint is not None:
                raise RecipeError(f"'{model}' has its own weights: leave out checkpoint, or name an architecture.")
            checkpoint = str(Path(model.removeprefix(LOCAL), "open_clip_model.safetensors"))
        if checkpoint is not None:
            self._load(model, checkpoint)

    def _load(self, model: str, checkpoint: str) -> None:
        """Load the tower from a checkpoint, whose keys may have the prefix of a whole model."""
        try:
            weights: dict[str, Tensor] = load_state_dict(checkpoint)
        except (OSError, RuntimeError) as error:
            raise RecipeError(f"The checkpoint '{checkpoint}' cannot be read: {error}.") from error
        weights = {name.removeprefix("text."): weight for name, weight in weights.items()}
        expected = self.tower.state_dict()
        mismatched = [n for n, w in expected.items() if n not in weights or weights[n].shape != w.shape]
        if mismatched:
            raise RecipeError(
                f"The checkpoint '{checkpoint}' does not fit '{model}': {len(mismatched)} of {len(expected)} tensors "
                f"of the text tower are missing or differ in shape, the first is '{mismatched[0]}'."
            )
        self.tower.load_state_dict({name: weights[name] for name in expected})

    def forward(self, batch: TextBatch) -> Features:
        """Encode texts to pooled (B, D), padded to the one length that the tower reads."""
        ids_BT = F.pad(batch.ids, (0, self.tower.context_length - batch.ids.shape[1]), value=PAD)
        return Features(self.tower(at_least_one_row(ids_BT))[: len(batch)])

    def tower_of(self, library: str, head_ED: Tensor) -> dict[str, Any]:
        """Return this side of a model of open_clip, with a linear map (E, D) behind the tower folded into it."""
        return {
            "side": "text",
            "width": head_ED.shape[1],
            "config": self.config["text_cfg"],
            "quick_gelu": bool(self.config.get("quick_gelu", False)),
            "weights": merge_projection(self.tower, ("text_projection",), head_ED),
        }
