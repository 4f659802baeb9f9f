"""Keys that recipes of older versions have: read, moved to where they stand now, with a warning that names the place.

The recipe of an older run is resolved: it has every key of its time, most with their defaults. A null of a key that is
gone says nothing and is dropped without a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sensorium.deprecation import deprecated

Section = dict[str, Any]


def with_moved_keys(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a raw recipe, or a part of one, with the keys of older versions moved."""
    moved = dict(raw)
    for name, move in MOVES.items():
        if isinstance(section := moved.get(name), Mapping):
            moved[name] = move(dict(section))
    return moved


def _data(data: Section) -> Section:
    """Move `data.hold_out` to the split of that name."""
    held = data.pop("hold_out", None)
    if held is not None:
        _say("data.hold_out", "data.split={name: hold-out, by: ..., value: ...}")
        data["split"] = {"name": "hold-out", **held}
    return data


def _say(key: str, instead: str) -> None:
    deprecated(f"The recipe key '{key}'", instead, since="0.1", removal="0.3")


MOVES: dict[str, Callable[[Section], Section]] = {"data": _data}
"""Section of a recipe -> what moves its keys."""
