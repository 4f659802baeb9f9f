"""What the two modalities that open_clip knows ask of it: configurations by name, and projections."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError, did_you_mean

LOCAL = "local-dir:"
"""What stands before the path of a folder that holds a configuration and weights."""


def configuration(model: str) -> dict[str, Any]:
    """Return the configuration of an architecture: by its name, or out of the folder of "local-dir:PATH".

    Raises:
        RecipeError: when open_clip knows no such name, or the folder holds no configuration.
    """
    import open_clip

    if model.startswith(LOCAL):
        path = Path(model.removeprefix(LOCAL), "open_clip_config.json")
        try:
            return json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        except (OSError, ValueError, KeyError) as error:
            raise RecipeError(f"The folder of '{model}' holds no configuration of open_clip: {error}.") from error
    config = open_clip.get_model_config(model)
    if config is None:
        raise RecipeError(
            f"open_clip knows no architecture '{model}'{did_you_mean(model, open_clip.list_models())}; "
            "`open_clip.list_models()` names them all."
        )
    return deepcopy(config)


@torch.no_grad()
def projected(tower: nn.Module, names: tuple[str, ...], head_ED: Tensor) -> dict[str, Tensor]:
    """Return a tower's weights with a linear map (E, D) behind its last projection made one with that.

    Args:
        tower: the tower.
        names: where the projection may be: a matrix (W, E), or a linear module.
        head_ED: the map.

    Raises:
        RecipeError: when the tower ends in no such projection.
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
    raise RecipeError(f"A tower {type(tower).__name__} ends in no linear projection, so no map can go into it.")
