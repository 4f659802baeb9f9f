"""What image and text towers of open_clip share: configurations by name or folder, weights, merging of projections."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError, not_found
from sensorium.weights import folder_of

log = logging.getLogger("sensorium")
LOCAL, HUB = "local-dir:", "hub:"
"""Prefixes of the path of a folder with a configuration and weights, and of the name of one on the hub."""
CONFIG = "open_clip_config.json"
OF_OPENAI = ("input_resolution", "context_length", "vocab_size")
"""What only files of OpenAI have beside weights; the models in them were trained with QuickGELU."""
OTHER_PARTS = (*OF_OPENAI, "logit_scale", "logit_bias", "text_decoder.*")
"""Weights of a whole model that no tower has."""


def folder(model: str) -> Path | None:
    """Return the folder of "local-dir:PATH" or "hub:NAME", which is downloaded; None for a name of an architecture."""
    if model.startswith(HUB):
        return folder_of(model)
    return Path(model.removeprefix(LOCAL)) if model.startswith(LOCAL) else None


def configuration(model: str) -> dict[str, Any]:
    """Return the configuration of an architecture, by its name or from a folder (see `folder`).

    Raises:
        RecipeError: when open_clip has no such architecture, or the folder no configuration.
    """
    import open_clip

    if (path := folder(model)) is not None:
        try:
            return _read(path)["model_cfg"]
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


def preprocessings(model: str) -> list[dict[str, Any]]:
    """Return how images were prepared for the weights of a model ("mean", "std", "resize_mode"), the usual way first.

    A folder says so itself; of an architecture, open_clip's list of pretrained weights does.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import PreprocessCfg

    usual = vars(PreprocessCfg())
    if (path := folder(model)) is not None:
        return [usual | _read(path).get("preprocess_cfg", {})]
    tags = [get_pretrained_cfg(model, tag) for tag in list_pretrained_tags_by_model(model)]
    known = [{name: tag.get(name) or usual[name] for name in ("mean", "std", "resize_mode")} for tag in tags] or [usual]
    counts = Counter(json.dumps(way) for way in known)
    return sorted(known, key=lambda way: -counts[json.dumps(way)])


def weights_of(model: str) -> str | None:
    """Return the file of weights in a model's folder; None for the name of an architecture, or of a folder without."""
    from open_clip.factory import _find_checkpoint_in_dir  # prefers open_clip's own files over those of transformers

    path = folder(model)
    return _find_checkpoint_in_dir(path) if path is not None else None


def check_layout(model: str, quick_gelu: bool, weights: Mapping[str, Tensor]) -> None:
    """Check that weights are in a layout of open_clip, and were trained with the architecture's activation.

    Raises:
        RecipeError: for weights of transformers, and for those of OpenAI in an architecture without QuickGELU.
    """
    if any(name.startswith(("vision_model.", "text_model.")) for name in weights):
        raise RecipeError(
            "these are weights of transformers: name open_clip's file of the same model (open_clip_model.safetensors), "
            "or take the encoder 'transformers'."
        )
    if OF_OPENAI[0] in weights and not quick_gelu:
        raise RecipeError(
            f"these are OpenAI's weights, which were trained with QuickGELU, and '{model}' has GELU: set the encoder's "
            f"model to {model}-quickgelu."
        )
    if folder(model) is None and not quick_gelu:
        _note_activation(model)


def _note_activation(model: str) -> None:
    """Say which of the known weights of an architecture with GELU were trained with QuickGELU: no file tells it."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(model)
    if others := [tag for tag in tags if get_pretrained_cfg(model, tag).get("quick_gelu")]:
        log.info("'%s' has GELU; its weights %s need the model %s-quickgelu.", model, ", ".join(others), model)


def tower_weights(weights: Mapping[str, Tensor], prefix: str, own: Sequence[str]) -> dict[str, Tensor]:
    """Return weights of a whole model or of a tower alone with those of the tower behind a prefix.

    Args:
        weights: as a file has them.
        prefix: what a whole model puts before the names of the tower, such as "visual.".
        own: names of the tower's weights, without the prefix.
    """
    if any(name.startswith(prefix) for name in weights):
        return dict(weights)
    names = set(own)
    return {prefix + name if name in names else name: tensor for name, tensor in weights.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip from warning, by the root logger, that a model has no weights: they are loaded afterwards."""
    root = logging.getLogger()

    def drop(record: logging.LogRecord) -> bool:
        return False

    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)


def _read(path: Path) -> dict[str, Any]:
    return json.loads((path / CONFIG).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


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
