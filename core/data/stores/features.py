"""What a Hugging Face dataset says of its columns, in the schema of the files that it wrote."""

from __future__ import annotations

import json

import pyarrow as pa


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names of the columns that are class labels, by index."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: feature["names"] for name, feature in features.items() if "names" in feature}
