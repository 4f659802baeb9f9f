"""Export of encoders as safetensors files, without heads and teachers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sensorium.contracts import Encoder, Modality
from sensorium.errors import RecipeError, RunError, not_found
from sensorium.exporters.base import Exporter
from sensorium.exporters.model_folders import brought, placed
from sensorium.models.given import given_parts, objects_of
from sensorium.models.plan import make_tower
from sensorium.recipe.schema import Tower
from sensorium.registration.discovery import Extensions
from sensorium.registration.recorded import part_names, recorded_of, with_recorded
from sensorium.runs.atomic import write_atomically, write_text

if TYPE_CHECKING:
    from sensorium.models.model import Model

log = logging.getLogger("sensorium")
CONFIG = "encoders.json"
DType = Literal["float32", "float16", "bfloat16"]
PROJECTION = "joint_projection.weight"
"""The name of the map to the joint space among an encoder's weights; it is one of `torch.nn.Linear`, (D, E)."""


class EncoderFiles(Exporter):
    """Writes NAME.safetensors for each modality, and encoders.json: its tower of the recipe and its fitted state.

    Where the objective compares in a joint space, the map of each modality to it lies beside the encoder's weights.
    Of modalities that share an encoder each has a file, so that any is read alone.

    Args:
        modalities: those to write; None for all.
        dtype: of the weights in the files: float16 and bfloat16 take half the space, and are read as float32.
    """

    def __init__(self, modalities: list[str] | None = None, dtype: DType = "float32") -> None:
        self.modalities, self.dtype = modalities, dtype

    def export(self, model: Model, folder: Path) -> str:
        """Write the files."""
        described: dict[str, Any] = {}
        has_projections = False
        for name in self._chosen(list(model.modalities)):
            weights, described[name] = weights_of(model, name), describe(model, name, folder)
            has_projections |= PROJECTION in weights
            write_atomically(folder / f"{name}.safetensors", partial(save_file, _as_dtype(weights, self.dtype)))
        write_text(folder / CONFIG, json.dumps(described, indent=1, ensure_ascii=False))
        name = next(iter(described))
        return (
            f'modality, encoder = sensorium.load_encoder("{folder}", "{name}")\n'
            "batch = modality.collate([modality.decode(value) for value in values])\n"
            "features = encoder(batch).pooled" + "\nembeddings = encoder.joint_projection(features)" * has_projections
        )

    def _chosen(self, there: list[str]) -> list[str]:
        for name in self.modalities or ():
            if name not in there:
                problem = f"The option 'modalities' of the exporter 'encoders' names '{name}', which the run has not"
                raise RecipeError(not_found(problem, name, there, f"there are: {', '.join(there)}"))
        return there if self.modalities is None else self.modalities


def describe(model: Model, name: str, folder: Path) -> dict[str, Any]:
    """Return what `make_encoder` makes an encoder of, as plain JSON values: its tower, fitted state and plugins.

    Configurations of other libraries that its options name are copied.

    Args:
        model: of a run.
        name: of the modality.
        folder: of the export.
    """
    plugins = model.run.status().get("plugins", []) if model.run is not None else []
    tower = model.plan.recipe.tower(name).model_dump(mode="json", exclude={"layer_decay", "lora", "teacher"})
    return {
        "tower": brought(tower, folder, f"{name}-files"),
        "state": model.plan.modalities[name].state(),
        "plugins": recorded_of(plugins, {name, *part_names(tower)}),
    }


def weights_of(model: Model, name: str) -> dict[str, Tensor]:
    """Return the weights of an encoder on the CPU, with its map to the joint space, if it is linear."""
    encoder = model.learner.encoder(name)
    weights = {key: tensor.detach().cpu().clone() for key, tensor in encoder.state_dict().items()}
    if (map_ED := _joint_map(model, name)) is not None:
        weights[PROJECTION] = map_ED.T.cpu().clone().contiguous()
    return weights


def _as_dtype(weights: Mapping[str, Tensor], dtype: DType) -> dict[str, Tensor]:
    """Return weights with their floating-point tensors in another dtype."""
    kind: torch.dtype = getattr(torch, dtype)
    return {name: w.to(kind) if w.is_floating_point() else w for name, w in weights.items()}


def _joint_map(model: Model, name: str) -> Tensor | None:
    """Return the map of a modality to the joint space, (E, D); None without such a space, or a matrix for it."""
    objective = model.learner.objective
    if not objective.has_own_space(name):
        return None
    map_ED = objective.joint_map(name, model.learner.encoder(name))
    if map_ED is None:
        log.warning(
            "The map of '%s' to the joint space is not linear and is not exported: embed by sensorium.load.", name
        )
    return map_ED


def read_encoder(
    folder: Path, name: str | None, extensions: Extensions, handed_in: Mapping[str, Any]
) -> tuple[Modality, Encoder]:
    """Return a fitted modality and its encoder in eval mode, with `joint_projection` if its run has a joint space.

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
    try:
        weights = load_file(folder / f"{name}.safetensors")
    except (OSError, SafetensorError) as error:
        raise RunError(f"The weights {folder / f'{name}.safetensors'} cannot be loaded: {error}.") from error
    return make_encoder(name, placed(described[name], folder), weights, extensions, handed_in)


def make_encoder(
    name: str,
    described: Mapping[str, Any],
    weights: Mapping[str, Tensor] | None,
    extensions: Extensions,
    handed_in: Mapping[str, Any],
) -> tuple[Modality, Encoder]:
    """Return a fitted modality and its encoder in eval mode, as `describe` and `weights_of` have them.

    Without weights they are random.

    Raises:
        RunError: when the weights are of another encoder.
    """
    used = {name, *part_names(described["tower"])}
    extensions = with_recorded(extensions, described.get("plugins", []), used)
    registry = extensions.with_given(objects_of(given_parts(handed_in, [name]))).registry
    modality, encoder = make_tower(name, Tower.model_validate(described["tower"]), registry, described["state"])
    if weights is None:
        return modality, encoder.eval()
    weights = dict(weights)
    projection_DE = weights.pop(PROJECTION, None)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"The exported weights of '{name}' cannot be loaded: {error}.") from error
    if projection_DE is not None:
        joint_dim, dim = projection_DE.shape
        projection = nn.Linear(dim, joint_dim, bias=False)
        projection.load_state_dict({"weight": projection_DE})
        encoder.add_module("joint_projection", projection)
    return modality, encoder.eval()
