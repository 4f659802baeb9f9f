"""Sensorium: self-supervised learning for any kind of data, through plugins.

The names below are the whole public surface. They are loaded at first use, so that `import sensorium`, the command
line's listings and a plugin's registration module cost no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "sensorium":  # the folder is not the package: two copies of every class would follow
    raise ImportError(f"This package is imported as 'sensorium', not as '{__name__}'.")

__version__ = "0.1.0"
API_VERSION = 1
"""The version of the plugin contract; it moves only when a plugin written for the last one would break."""

_HOME = {
    "hookimpl": "sensorium.hookspecs",
    # what travels
    "Batch": "sensorium.types",
    "Record": "sensorium.types",
    "Features": "sensorium.types",
    "View": "sensorium.types",
    "Outcome": "sensorium.types",
    "Needs": "sensorium.types",
    "Scale": "sensorium.types",
    # what a plugin writes
    "Modality": "sensorium.contracts",
    "Encoder": "sensorium.contracts",
    "TokenEncoder": "sensorium.contracts",
    "Tokens": "sensorium.contracts",
    "Encoders": "sensorium.contracts",
    "ViewGenerator": "sensorium.contracts",
    "Objective": "sensorium.contracts",
    "Source": "sensorium.contracts",
    "Evaluator": "sensorium.contracts",
    "Exporter": "sensorium.contracts",
    "BadSample": "sensorium.errors",
    "SensoriumError": "sensorium.errors",
    "losses": "sensorium.losses",
    "heads": "sensorium.heads",
    "Negatives": "sensorium.negatives",
    "NegativePool": "sensorium.negatives",
    "Memory": "sensorium.negatives",
    "Decoder": "sensorium.decoder",
    "at_places": "sensorium.decoder",
    "places_of": "sensorium.decoder",
    "Teacher": "sensorium.teacher",
    "cosine_ramp": "sensorium.teacher",
    # what a user calls
    "fit": "sensorium.api",
    "load": "sensorium.api",
    "evaluate": "sensorium.api",
    "replay": "sensorium.api",
    "mine": "sensorium.api",
    "search": "sensorium.api",
    "export": "sensorium.api",
    "load_encoder": "sensorium.api",
    "finetune": "sensorium.api",
    "load_predictor": "sensorium.api",
    "Recipe": "sensorium.recipe",
}
__all__ = ["API_VERSION", "__version__", *_HOME]

if TYPE_CHECKING:
    from sensorium import heads, losses
    from sensorium.api import (
        evaluate,
        export,
        finetune,
        fit,
        load,
        load_encoder,
        load_predictor,
        mine,
        replay,
        search,
    )
    from sensorium.contracts import (
        Encoder,
        Encoders,
        Evaluator,
        Exporter,
        Modality,
        Objective,
        Source,
        TokenEncoder,
        Tokens,
        ViewGenerator,
    )
    from sensorium.decoder import Decoder, at_places, places_of
    from sensorium.errors import BadSample, SensoriumError
    from sensorium.hookspecs import hookimpl
    from sensorium.negatives import Memory, NegativePool, Negatives
    from sensorium.recipe import Recipe
    from sensorium.teacher import Teacher, cosine_ramp
    from sensorium.types import Batch, Features, Needs, Outcome, Record, Scale, View


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'sensorium' has no attribute '{name}'")
    home = import_module(_HOME[name])
    return home if _HOME[name] == f"sensorium.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
