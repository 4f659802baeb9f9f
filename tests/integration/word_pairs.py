"""A recipe of two columns of words, which trains in seconds from a table on disk."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

WORDS = ["red", "green", "blue", "round", "square", "small", "large", "old", "new", "warm", "cold", "soft"]


def word_pairs(folder: Path, **changes: Any) -> dict[str, Any]:
    """Write the table into a folder, and return the recipe with some sections in place of its own."""
    with (folder / "pairs.csv").open("w", newline="") as file:
        pairs = ((f"{one} {other}", f"{other[::-1]} {one[::-1]}") for one in WORDS for other in WORDS)
        csv.writer(file).writerows([("said", "mirrored"), *pairs])
    encoder = {"name": "transformer", "width": 32, "depth": 1, "heads": 2}
    tower = {"modality": {"name": "text", "vocab": 300, "length": 24}, "views": "plain", "encoder": encoder}
    source = {"name": "table", "path": str(folder / "pairs.csv")}
    return {
        "data": {"source": source, "batch": 48, "val": 0.0, "test": 0.2, "workers": 0},
        "modalities": {"said": tower, "mirrored": tower},
        "objective": {"name": "clip", "dim": 16},
        "train": {"epochs": 5, "accelerator": "cpu"},
        "checkpoint": {"every": 1.5},
        "log": {"every": 1, "loggers": {}},
        "evaluate": {"evaluators": {"health": {}}},
        **changes,
    }
