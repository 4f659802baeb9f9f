"""Export of an encoder to Hugging Face transformers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sensorium.contracts import Modality
from sensorium.errors import SensoriumError
from sensorium.exporters.base import Exporter, Verification, largest_difference, one_modality
from sensorium.exporters.encoders import describe, weights_of
from sensorium.exporters.quiet import quiet
from sensorium.exporters.sentences import PAIRS
from sensorium.models.model import Model
from sensorium.runs.atomic import write_atomically
from sensorium.seeding import generator

LIBRARY = "transformers"
COUNT = 7
"""Random examples on which both are compared."""
SAFE = "model.safetensors"


class HuggingFace(Exporter):
    """Writes a folder that `transformers.AutoModel.from_pretrained` opens.

    An encoder of which transformers has the architecture, which it declares in its `libraries`, becomes a model of
    transformers, with its tokenizer beside it. Any other becomes a `SensoriumModel`, which `import
    sensorium.huggingface` registers; no code of the folder is run.

    Args:
        modality: whose encoder; None for the only one.
    """

    library = LIBRARY

    def __init__(self, modality: str | None = None) -> None:
        self.modality = modality

    def export(self, model: Model, folder: Path) -> str:
        """Write the folder."""
        name = one_modality(model, self.modality)
        encoder = model.learner.encoder(name)
        if LIBRARY not in encoder.libraries:
            _require_registered_parts(model, name)
            from sensorium.exporters.hub_model import SensoriumConfig

            SensoriumConfig(name, describe(model, name, folder), architectures=["SensoriumModel"]).save_pretrained(
                folder
            )
            tensors = weights_of(model, name)
            write_atomically(folder / SAFE, partial(save_file, tensors, metadata={"format": "pt"}))
            return (
                "import sensorium.huggingface, transformers\n"
                f'model = transformers.AutoModel.from_pretrained("{folder}")\n'
                "features = model(model.batch(values)).pooler_output"
            )
        tower = encoder.tower_of(LIBRARY, torch.eye(encoder.dim))
        with quiet():
            tower["model"].save_pretrained(folder)
        lines = f'model = transformers.AutoModel.from_pretrained("{folder}")\n'
        processor = model.plan.modalities[name].processor()
        if processor is None:
            return lines + "tokens = model(input_ids=ids, attention_mask=mask).last_hidden_state"
        processor.save_pretrained(folder)
        return (
            f'{lines}tokenizer = transformers.AutoTokenizer.from_pretrained("{folder}")\n'
            'tokens = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).last_hidden_state'
        )

    @torch.no_grad()
    def verify(self, model: Model, folder: Path) -> Verification:
        """Open the folder with AutoModel, and show both random examples."""
        from transformers import AutoModel

        name = one_modality(model, self.modality)
        encoder, modality = model.learner.encoder(name).eval(), model.plan.modalities[name]
        if LIBRARY not in encoder.libraries:
            return self._verify_own(model, name, folder)
        with quiet():
            theirs = AutoModel.from_pretrained(folder).eval()
        batch: Any = modality.random_batch(COUNT, False, generator("export", name))
        features = encoder(batch)
        tokens_BTD = theirs(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        valid_BT = features.valid()
        found = {
            "tokens": largest_difference(features.tokens[valid_BT], tokens_BTD[valid_BT], "tokens")  # type: ignore[index]
        }
        pool = encoder.tower_of(LIBRARY, torch.eye(encoder.dim))["pool"]
        takes = [
            f"It is a {type(theirs).__name__}, a class of transformers itself; features are the '{pool}' of its valid "
            "tokens, which the format sentence-transformers has too."
        ]
        if modality.processor() is None:
            takes.append("The tokenizer is none of transformers, and does not lie beside it.")
        else:
            _require_equal_ids(modality, folder)
            takes.append(f"The tokenizer lies beside it, and gives {2 * len(PAIRS)} texts the same ids.")
        return Verification(LIBRARY, found, takes)

    def _verify_own(self, model: Model, name: str, folder: Path) -> Verification | None:
        from transformers import AutoModel

        import sensorium.exporters.hub_model  # noqa: F401  # registers the class

        theirs, modality = AutoModel.from_pretrained(folder), model.plan.modalities[name]
        takes = [
            "Its class is registered by `import sensorium.huggingface`; `model.batch(values)` prepares raw values as "
            "the run did, preprocessing included."
        ]
        weights = model.learner.encoder(name).state_dict()
        others = theirs.encoder.state_dict()
        found = {"weights": max(largest_difference(x, others[key], key, 0.0) for key, x in weights.items())}
        if modality.has_random_batch():
            batch = modality.random_batch(COUNT, False, generator("export", name))
            ours: Tensor = model.learner.encoder(name).eval()(batch).pooled
            found["features"] = largest_difference(ours, theirs(batch).pooler_output, "features")
        return Verification(LIBRARY, found, takes)


def _require_registered_parts(model: Model, name: str) -> None:
    """Refuse an encoder or modality that was handed in as an object, which no folder brings back."""
    tower = model.plan.recipe.tower(name)
    for part in (tower.encoder, tower.modality):
        if part is not None and part.handed_in is not None:
            raise SensoriumError(
                f"'{name}' has a part that was handed in, {part}, and the format 'huggingface' makes encoders of "
                "registered parts: register it by a plugin, or choose the formats onnx or torch-export."
            )


def _require_equal_ids(modality: Modality, folder: Path) -> None:
    """Compare the ids of texts with those of the tokenizer in a folder.

    Raises:
        SensoriumError: when they differ.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in (text for first, second, _ in PAIRS for text in (first, second)):
        ours, theirs = modality.decode(text).tolist(), tokenizer(text, truncation=True)["input_ids"]
        if ours != theirs:
            raise SensoriumError(
                f"The tokenizer that was exported gives the text '{text}' the ids {theirs[:8]}, and that of the run "
                f"{ours[:8]}; nothing was kept of the export."
            )
