"""Packing the records of a recipe or a source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sensorium.checking.subject import find_subject
from sensorium.errors import RecipeError
from sensorium.packing.cells import Encoding
from sensorium.packing.manifest import NAME, Manifest
from sensorium.packing.packer import Packer, PackResult, source_of
from sensorium.recipe import Recipe
from sensorium.recipe.yaml_text import one_line
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions

log = logging.getLogger("sensorium")
Form = Literal["lance", "webdataset", "parquet"]


@naming_plugins
def pack(
    target: Recipe | Mapping[str, Any] | str | Path | None,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    form: Form | None = None,
    shard_bytes: int = 256 * 10**6,
    decode: bool = False,
    quality: int | None = None,
    source: Any = None,
    progress: Callable[[int, int], None] | None = None,
    extensions: Extensions | None = None,
) -> PackResult:
    """Write all records of any source, with ids, labels, splits, groups and times, in shards that are read fast.

    A pack that was stopped goes on when it is called again. Unreadable values are left out, and listed in
    `unreadable.csv` beside the shards.

    Args:
        target: a recipe as `fit` takes it, a run folder, a pack, the name of a registered source, or the path of a
            folder or table; None for the records of `source` alone.
        out: the folder to write.
        overrides: `key.sub=value` texts: of a recipe any keys, of a source `data.*` and `modalities.FIELD.modality`.
        form: what is written, and the name of the source that reads it: "lance" (a dataset), "webdataset" (tars) or
            "parquet" (files); None goes by the end of `out`: ".lance", ".tar" or ".tars", anything else is "parquet".
        shard_bytes: bytes of a shard, about, >= 1.
        decode: write decoded examples (`Modality.encode`), so that images are resized, audio is resampled and molecules
            are turned into graphs once, as the modalities of the recipe say.
        quality: 1 to 100, with `decode`: write what may have a loss, such as images, with this quality (as JPEG); None
            without a loss.
        source: records in place of those that the target names, as `fit` takes them.
        progress: called with the number of records read so far, and of all.
        extensions: plugins, when not those that are installed.

    Raises:
        SensoriumError: when more records than `data.max_bad` are unreadable, a value cannot be stored, or `out` has
            something else.
    """
    if quality is not None and not decode:
        raise RecipeError("A quality is that of decoded examples: add decode, or leave quality out.")
    if quality is not None and not 1 <= quality <= 100:
        raise RecipeError(f"quality is {quality}; it is from 1 to 100.")
    if shard_bytes < 1:
        raise RecipeError(f"shard_bytes is {shard_bytes}; it is at least 1.")
    if isinstance(target, str | Path) and (Path(target) / "recipe.yaml").is_file():
        target = Path(target) / "recipe.yaml"
    if isinstance(target, str | Path) and (manifest := Manifest.read(Path(target))) is not None:
        read = source_of(Path(target), manifest)
        target = read.pop("name")
        overrides = [*(f"data.source.{name}={one_line(value)}" for name, value in read.items()), *overrides]
    subject = find_subject(target, overrides, extensions or load_extensions(), source)
    if left := [field for field in subject.source.fields if field not in subject.fields.values()]:
        log.warning(
            "not packed, since no modality reads them: %s (name one: modalities.FIELD.modality)", ", ".join(left)
        )
    encoding = Encoding.of(subject.modalities, quality) if decode else Encoding()
    return Packer(subject, Path(out), form or form_of(out), shard_bytes, encoding).run(progress)


@naming_plugins
def verify_pack(folder: str | Path) -> Manifest:
    """Check every file of a pack against its checksum.

    Args:
        folder: that `pack` wrote.

    Raises:
        SensoriumError: with the first file that is missing or changed, or when the pack is not finished.
    """
    manifest = Manifest.read(Path(folder))
    if manifest is None:
        raise RecipeError(f"'{folder}' has no {NAME}: name the folder that `sensorium pack` wrote.")
    manifest.verify(Path(folder))
    return manifest


def form_of(out: str | Path) -> str:
    """Return the form that the end of a path asks for."""
    ending = Path(out).suffix.lower()
    return {".lance": "lance", ".tar": "webdataset", ".tars": "webdataset"}.get(ending, "parquet")
