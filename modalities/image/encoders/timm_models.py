"""Models of timm by name: looked up, and made for the images of a modality with random weights."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from sensorium import SensoriumError
from sensorium.errors import did_you_mean
from sensorium.modalities.image.modality import ImageModality

PREFERRED = ("img_size", "dynamic_img_size", "drop_path_rate")
"""Options of timm's models that are set here for those that have them."""


@functools.lru_cache
def class_of(name: str) -> type[nn.Module]:
    """Return the class of a model of timm, which decides whether it has tokens; no weights are made.

    Raises:
        SensoriumError: for a name that timm does not know.
    """
    if not timm.is_model(name):
        raise SensoriumError(f"timm has no model '{name}'{did_you_mean(name, timm.list_models()) or '.'}")
    with torch.device("meta"):  # allocates nothing
        return type(timm.create_model(name))


def arguments(
    name: str, modality: ImageModality, drop_path: float, model_kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a model of timm without its classifier, for images of the modality's size.

    Args:
        name: of the model, with or without the tag of its weights.
        modality: the image modality.
        drop_path: stochastic depth rate.
        model_kwargs: further arguments of its class.

    Raises:
        SensoriumError: for a rate that it does not have.
    """
    known = _parameters(class_of(name))
    values: tuple[Any, ...] = (modality.size, True, drop_path)
    options = {option: value for option, value in zip(PREFERRED, values, strict=True) if option in known}
    if drop_path and "drop_path_rate" not in options:
        raise SensoriumError(f"The model '{name}' has no stochastic depth: leave out the option drop_path.")
    return {"in_chans": modality.channels, "num_classes": 0, **options, **dict(model_kwargs or {})}


def create(name: str, modality: ImageModality, drop_path: float, model_kwargs: Mapping[str, Any] | None) -> Any:
    """Return a model of timm without its classifier, with random weights, made with its `arguments`.

    Raises:
        SensoriumError: when it cannot be built so.
    """
    made_with = arguments(name, modality, drop_path, model_kwargs)
    try:
        return timm.create_model(name, **made_with)
    except Exception as error:
        size = "x".join(map(str, modality.size))
        raise SensoriumError(
            f"The model '{name}' cannot be built for images of {size}: {str(error).splitlines()[0].rstrip('.')}."
        ) from error


def _parameters(kind: type[nn.Module]) -> set[str]:
    """Return the parameters of a constructor, with those of base classes that it hands the others to."""
    names: set[str] = set()
    for cls in kind.__mro__:
        if "__init__" in vars(cls):
            parameters = inspect.signature(vars(cls)["__init__"]).parameters
            names |= set(parameters)
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
                break
    return names
