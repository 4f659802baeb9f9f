"""What Hugging Face datasets, and `sensorium pack`, say of their columns in the schema of the files that they wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa

from sensorium.data.fields import Columns
from sensorium.data.stores.keys import KeyUses


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names of the columns that are class labels, by index."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: feature["names"] for name, feature in features.items() if _is_class_label(feature)}


def _is_class_label(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "ClassLabel"


def as_packed(schema: pa.Schema, columns: Columns | None, uses: KeyUses) -> tuple[Columns | None, KeyUses]:
    """Return which columns hold what: as a recipe says, or else as `sensorium pack` noted it (see `Layout`).

    Args:
        schema: of the files.
        columns: field to column, as the recipe says; None for nothing.
        uses: the other columns that it names.
    """
    try:
        layout = json.loads((schema.metadata or {})[b"sensorium"])
        values = {field: value["name"] for field, value in layout["values"].items()}
        labels, time = layout["labels"], layout["time"]
        known = {name: getattr(uses, name) or layout[name] for name in ("id", "split", "group")}
    except (KeyError, TypeError, ValueError):
        return columns, uses
    return columns or values, replace(uses, **known, labels=uses.labels or labels, time=tuple(time) if time else None)
