"""Export of encoders as safetensors files, without heads and teachers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sensorium.contracts import Encoder, Modality
from sensorium.errors import RunError, not_found
from sensorium.exporters.base import Exporter
from sensorium.models.plan import make_tower
from sensorium.recipe.schema import Tower
from sensorium.registration.discovery import Extensions

if TYPE_CHECKING:
    from sensorium.models.model import Model

CONFIG = "encoders.json"


class EncoderFiles(Exporter):
    """Writes NAME.safetensors for each modality, and encoders.json: its tower of the recipe and its fitted state.

    Of modalities that share an encoder each has a file, so that any is read alone.
    """

    def export(self, model: Model, folder: Path) -> str:
        """Write the files."""
        described: dict[str, Any] = {}
        for name in model.modalities:
            encoder = model.learner.encoder(name)
            weights = {key: tensor.detach().cpu().clone() for key, tensor in encoder.state_dict().items()}
            save_file(weights, folder / f"{name}.safetensors")
            tower = model.plan.recipe.tower(name).model_dump(mode="json")
            described[name] = {"tower": tower, "state": model.plan.modalities[name].state()}
        (folder / CONFIG).write_text(json.dumps(described, indent=1, ensure_ascii=False), encoding="utf-8")
        name = next(iter(described))
        return (
            f'modality, encoder = sensorium.load_encoder("{folder}", "{name}")\n'
            "batch = modality.collate([modality.decode(value) for value in values])\n"
            "features = encoder(batch).pooled"
        )


def read_encoder(folder: Path, name: str | None, extensions: Extensions) -> tuple[Modality, Encoder]:
    """Return a fitted modality and its encoder in eval mode.

    Raises:
        RunError: when the folder has no such encoder.
    """
    try:
        described: Mapping[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder} has no exported encoders ({error}): `sensorium export RUN {folder}` writes them."
        ) from error
    if name is None and len(described) == 1:
        (name,) = described
    if name is None or name not in described:
        problem = "Name the encoder to load" if name is None else f"{folder} has no encoder '{name}'"
        raise RunError(not_found(problem, name or "", described, f"there are: {', '.join(described)}"))
    modality, encoder = make_tower(
        name, Tower.model_validate(described[name]["tower"]), extensions.registry, described[name]["state"]
    )
    try:
        encoder.load_state_dict(load_file(folder / f"{name}.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RunError(f"The weights {folder / f'{name}.safetensors'} cannot be loaded: {error}.") from error
    return modality, encoder.eval()
