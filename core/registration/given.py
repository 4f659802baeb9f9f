"""Parts that are objects of the caller: they stand in a recipe by the name `given`, and beside it in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

GIVEN, CLASS = "given", "class"
"""The name in a recipe of a part that was handed in, and the key under which its class is noted."""


@dataclass(frozen=True)
class Given:
    """What makes a part out of an object that was handed in.

    Args:
        cls: the class by which the part is checked against the others of its recipe.
        make: called as a registered class is, with the modality first where one belongs; returns the part.
        origin: the object's class, or the function, as "module.name".
        module: the module whose copies `make` returns, if it is one.
        said: what the recipe says beside its class, such as the weight of one of several objectives.
    """

    cls: type
    make: Callable[..., Any]
    origin: str
    module: Any = None
    said: Mapping[str, Any] = field(default_factory=dict)

    def in_recipe(self) -> dict[str, Any]:
        """Return how the part stands in a recipe."""
        return {"name": GIVEN, CLASS: self.origin, **self.said}


def origin_of(thing: Any) -> str:
    """Return where a class or a function is defined, or else the class of an object, as "module.name"."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def missing(parts: Mapping[str, str]) -> str:
    """Return the sentence about parts that were handed in once, and are not now.

    Args:
        parts: their keys in the recipe, such as "objective" or "modalities.image.encoder" -> the class that it notes.
    """
    what = ", ".join(f"the {described(path)} ({origin})" for path, origin in parts.items())
    arguments = ", ".join(map(_argument, parts))
    return (
        f"This recipe needs objects that are handed in, for {what}: hand them in, as {arguments}, where you call "
        "sensorium from Python."
    )


def described(path: str) -> str:
    """Return the part at a key of a recipe in words: "encoder of 'image'"."""
    match path.split("."):
        case ["modalities", tower, kind, *number]:
            return f"{' '.join([kind, *number])} of '{tower}'"
        case ["objective", number]:
            return f"objective {number}"
        case [*_, "evaluators" | "callbacks" as kinds, name]:
            return f"{kinds.removesuffix('s')} '{name}'"
        case keys:
            return keys[-1]


def _argument(path: str) -> str:
    """Return the argument of `sensorium.fit` that gives the part at a key of a recipe."""
    match path.split("."):
        case ["modalities", tower, kind]:
            return f"{kind}={{'{tower}': ...}}"
        case ["modalities", tower, kind, _]:
            return f"{kind}={{'{tower}': [...]}}"
        case ["objective", _]:
            return "objective=[...]"
        case [*_, "evaluators" | "callbacks" as kinds, name]:
            return f"{kinds}={{'{name}': ...}}"
        case keys:
            return f"{keys[-1]}=..."
