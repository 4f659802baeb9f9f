"""What the folder of a sentence encoder says of itself, in the files of sentence-transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sensorium.errors import RecipeError

Pool = Literal["mean", "first", "end"]
POOLS: dict[str, Pool] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "first",
    "cls_token": "first",
    "lasttoken": "end",
}
"""Pooling as sentence-transformers names it, with its older names, and here."""


@dataclass(frozen=True)
class SentenceFolder:
    """How a sentence encoder makes one vector of a text.

    Args:
        pool: pooled features; None for a folder that is no sentence encoder's.
        is_normalized: whether they have length 1.
        longest: tokens that it reads of a text; None for as many as its positions.
        fault: why its vectors cannot be made here; None where they can.
    """

    pool: Pool | None = None
    is_normalized: bool = False
    longest: int | None = None
    fault: str | None = None


def read_sentence_folder(folder: Path) -> SentenceFolder:
    """Return what a model's folder says of pooling, normalization and length.

    Raises:
        RecipeError: when one of these files is damaged.
    """
    modules = _json(folder / "modules.json")
    if modules is None:
        return SentenceFolder()
    kinds = {str(module["type"]).rpartition(".")[2]: folder / str(module["path"]) for module in modules}
    longest = (_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    others = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    chosen = _pooling(_json(kinds["Pooling"] / "config.json") or {}) if "Pooling" in kinds else ["mean"]
    pool = POOLS.get(chosen[0]) if len(chosen) == 1 else None
    fault = None
    if others:
        fault = f"it has {', '.join(others)} behind its pooling, which is no part of this encoder"
    elif pool is None:
        fault = f"its pooling is {', '.join(chosen) or 'none'}"
    return SentenceFolder(pool, "Normalize" in kinds, longest, fault)


def _pooling(config: dict[str, Any]) -> list[str]:
    """Return the pooling of a configuration, of which older ones have a flag for each kind."""
    if named := config.get("pooling_mode"):
        return [named] if isinstance(named, str) else list(named)
    prefix = "pooling_mode_"
    return [name.removeprefix(prefix) for name, is_on in config.items() if name.startswith(prefix) and is_on]


def _json(file: Path) -> Any:
    """Return the content of a file; None where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RecipeError(f"The file {file} is damaged: {error}.") from error
