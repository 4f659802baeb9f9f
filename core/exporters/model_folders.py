"""Folders of other libraries that a tower's options name: their configuration goes with an export, weights stay.

An encoder may be built of a folder that `save_pretrained` wrote, and a tokenizer be read from one. What is exported
needs neither on another machine: files that are no weights lie beside it, and options name them from there.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

HERE = "{export}"
"""Stands in options for the folder of the export."""
CONFIGURATIONS = ("config.json", "open_clip_config.json", "tokenizer.json", "tokenizer_config.json")
"""A folder that has one of these is a model's, or a tokenizer's."""
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.onnx", "*.index.json", ".*")


def brought(options: Any, folder: Path, name: str) -> Any:
    """Return options, plain values, in which folders of models are copies in an export; the copies are written.

    Args:
        options: of a tower.
        folder: of the export.
        name: of the folder in it that has the copies.
    """
    copies: dict[Path, str] = {}

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(one) for key, one in value.items()}
        if isinstance(value, list):
            return [named(one) for one in value]
        if not isinstance(value, str):
            return value
        prefix, colon, path = value.rpartition(":")
        source = Path(path).expanduser()
        if not any((source / file).is_file() for file in CONFIGURATIONS):
            return value
        source = source.resolve()
        if source.is_relative_to(folder.resolve()):  # the export is written once more
            copies[source] = source.relative_to(folder.resolve()).as_posix()
        if source not in copies:
            copies[source] = f"{name}/{len(copies)}"
            ignored, target = shutil.ignore_patterns(*WEIGHTS), folder / copies[source]
            shutil.copytree(source, target, ignore=ignored, symlinks=False, dirs_exist_ok=True)
        return f"{prefix}{colon}{HERE}/{copies[source]}"

    return named(options)


def placed(options: Any, folder: Path) -> Any:
    """Return options of an export whose folder is there: the inverse of `brought`."""
    if isinstance(options, dict):
        return {key: placed(one, folder) for key, one in options.items()}
    if isinstance(options, list):
        return [placed(one, folder) for one in options]
    return options.replace(HERE, str(folder)) if isinstance(options, str) else options
