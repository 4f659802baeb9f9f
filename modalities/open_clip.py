"""What image and text towers of open_clip share: configurations by name, and merging of projections."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError, not_found

LOCAL = "local-dir:"
"""Prefix of the path of a folder with a configuration and weights."""


def configuration(model: str) -> dict[str, Any]:
    """Return the configuration of an architecture, by its name or from the folder of "local-dir:PATH".

    Raises:
        RecipeError: when open_clip has no such architecture, or the folder no configuration.
    """
    import open_clip

    if model.startswith(LOCAL):
        path = Path(model.removeprefix(LOCAL), "open_clip_config.json")
        try:
            return json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        except (OSError, ValueError, KeyError) as error:
            raise RecipeError(f"The folder of '{model}' has no open_clip configuration: {error}.") from error
    config = open_clip.get_model_config(model)
    if config is None:
        raise RecipeError(
            not_found(
                f"open_clip has no architecture '{model}'",
                model,
                open_clip.list_models(),
                "`open_clip.list_models()` lists them",
            )
        )
    return deepcopy(config)


@torch.no_grad()
def merge_projection(tower: nn.Module, names: tuple[str, ...], head_ED: Tensor) -> dict[str, Tensor]:
    """Return a tower's weights with a linear map (E, D) merged into its last projection.

    Args:
        tower: the tower.
        names: possible names of the projection: a matrix (W, E), or a linear module.
        head_ED: the linear map.

    Raises:
        RecipeError: when the tower has no such projection.
    """
    weights = dict(tower.state_dict())
    for name in names:
        if name in weights:
            weights[name] = weights[name] @ head_ED
            return weights
        if f"{name}.weight" in weights:
            weights[f"{name}.weight"] = head_ED.T @ weights[f"{name}.weight"]
            if f"{name}.bias" in weights:
                weights[f"{name}.bias"] = weights[f"{name}.bias"] @ head_ED
            return weights
    raise RecipeError(
        f"The tower {type(tower).__name__} has no final linear projection, so the head cannot be merged into it."
    )
