"""Export of a text encoder to sentence-transformers, in modules of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sensorium.errors import SensoriumError
from sensorium.exporters.base import Exporter, Verification, largest_difference, one_modality
from sensorium.exporters.quiet import quiet
from sensorium.exporters.sentences import PAIRS
from sensorium.models.model import Model

LIBRARY = "transformers"
"""What an encoder has to be a model of."""
POOLING = {"mean": "mean", "first": "cls", "end": "lasttoken"}
"""Pooling of ours, and as sentence-transformers names it."""


class SentenceTransformers(Exporter):
    """Writes a folder that `SentenceTransformer(folder)` opens: transformer, pooling and, if any, the joint projection.

    All modules are its own, so that no code of the folder is trusted. The encoder is a model of transformers, or one
    that becomes one: it declares that in its `libraries`.

    Args:
        modality: the texts; None for the only modality.
        space: "embedding" is the space that the objective compares in, "features" are pooled features.
    """

    library = "sentence-transformers"

    def __init__(self, modality: str | None = None, space: Literal["embedding", "features"] = "embedding") -> None:
        self.modality, self.space = modality, space

    def export(self, model: Model, folder: Path) -> str:
        """Write the folder."""
        name = one_modality(model, self.modality)
        encoder, modality = model.learner.encoder(name), model.plan.modalities[name]
        processor = modality.processor() if LIBRARY in encoder.libraries else None
        if processor is None:
            raise SensoriumError(
                "The format sentence-transformers is for texts whose encoder and tokenizer transformers has (the "
                f"encoders transformer and transformers), not for {name}: {type(encoder).__name__}; the format "
                "'huggingface' takes any encoder."
            )
        map_ED = self._map(model, name)
        tower = encoder.tower_of(LIBRARY, torch.eye(encoder.dim))
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer import modules as of_library

        with TemporaryDirectory() as whole, quiet():
            tower["model"].save_pretrained(whole)
            processor.save_pretrained(whole)
            modules: list[nn.Module] = [of_library.Transformer(whole, max_seq_length=processor.model_max_length)]
        modules.append(of_library.Pooling(encoder.dim, pooling_mode=POOLING[tower["pool"]]))
        if tower["is_normalized"]:
            modules.append(of_library.Normalize())
        if map_ED is not None:
            width, joint_width = map_ED.shape
            dense = of_library.Dense(
                width, joint_width, bias=False, activation_function=nn.Identity(), init_weight=map_ED.T.contiguous()
            )
            modules.append(dense)
        with quiet():
            SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
        return f'model = sentence_transformers.SentenceTransformer("{folder}")\nembeddings = model.encode(texts)'

    def _map(self, model: Model, name: str) -> torch.Tensor | None:
        """Return the map to the joint space (E, D); None where the features are what is exported.

        Raises:
            SensoriumError: when it is not linear.
        """
        objective = model.learner.objective
        if self.space == "features" or not objective.has_own_space(name):
            return None
        map_ED = objective.joint_map(name, model.learner.encoder(name))
        if map_ED is None:
            raise SensoriumError(
                f"The map of '{name}' to the joint space is not linear: export pooled features, space=features."
            )
        return map_ED

    def verify(self, model: Model, folder: Path) -> Verification:
        """Open the folder with SentenceTransformer; compare embeddings, and how both rank pairs of sentences."""
        from scipy.stats import spearmanr
        from sentence_transformers import SentenceTransformer

        name = one_modality(model, self.modality)
        firsts, seconds, scores_N = zip(*PAIRS, strict=True)
        with quiet():
            theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        ours_ND = model.embed(space=self.space, **{name: [*firsts, *seconds]})[name]
        theirs_ND = torch.from_numpy(theirs.encode([*firsts, *seconds], show_progress_bar=False))
        difference = largest_difference(ours_ND, theirs_ND, "embeddings")
        ranks = [float(spearmanr(_cosines(x_ND), scores_N).statistic) for x_ND in (ours_ND, theirs_ND)]
        if not np.isclose(ranks[0], ranks[1], atol=1e-3, equal_nan=True):
            raise SensoriumError(
                f"What was exported ranks pairs of sentences otherwise than the run (Spearman {ranks[1]:.4f}, not "
                f"{ranks[0]:.4f}); nothing was kept of the export."
            )
        takes = (
            "It takes texts: tokenizer, pooling"
            + (" and the map to the joint space" if self._map(model, name) is not None else "")
            + " are modules of the folder; embeddings are compared by cosine.",
            f"Of {len(PAIRS)} pairs of sentences with given similarities, Spearman's correlation with the cosines is "
            f"{ranks[1]:.3f}, and of the run {ranks[0]:.3f}.",
        )
        return Verification("sentence-transformers", {f"embeddings of {2 * len(PAIRS)} texts": difference}, takes)


def _cosines(x_ND: Any) -> np.ndarray:
    """Return the cosine of each row of the first half with that of the second."""
    first_ND, second_ND = x_ND.double().chunk(2)
    return torch.cosine_similarity(first_ND, second_ND, dim=1).numpy()
