"""A Hugging Face dataset as a source."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from sensorium.data.patience import is_transient
from sensorium.data.splits import part_name
from sensorium.data.stores.column_files import one_line
from sensorium.data.stores.features import class_names
from sensorium.data.stores.keys import KeyUses, joined_keys
from sensorium.data.stores.row_source import RowSource
from sensorium.errors import BadSample, DataError, did_you_mean

SAVED = ("dataset_dict.json", "state.json")
"""Files of a folder that `save_to_disk` wrote."""
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException)
"""Raised by `datasets` for files that are not what it wrote."""
WHOLE = "all"
"""The split of a dataset that has none, as errors name it."""


class HFSource(RowSource):
    """One record for each row of a Hugging Face dataset, memory-mapped from Arrow files.

    Splits are the parts (validation is val). Class labels are their names, -1 is none. Images and recordings are not
    decoded by `datasets`: their bytes, or the path of their file, go to the modality. A worker maps the files that this
    process has mapped, so that nothing is fetched twice.

    Args:
        path: a folder that `save_to_disk` wrote; or, with `download`, whatever `datasets.load_dataset` takes: a name on
            the Hub, or a folder of files.
        config: the dataset's configuration, with `download`.
        download: whether `datasets.load_dataset` may fetch and convert what is not in its cache.
        revision: of the dataset on the Hub.
        splits: part -> split, or list of splits, of the dataset: {train: train, test: [test, extra]}; default the
            splits that are named as parts are.
        columns: field name to column name, or to a list of numeric columns, whose numbers in a row are one value, or to
            a mapping from name to column, whose cells in a row are one value; default every column that has no other
            use.
        id: the column of unique names; default the row's number, after its part.
        labels: the columns that evaluators predict: a list, or label name to column name.
        split: the column that says train, val or test, of a dataset without splits.
        group: the column whose equal cells keep records in one split.
        classes: label name to its class names, by index; default those of the dataset.
        root: the folder that relative paths in cells start from; default the current one.
        streaming: is refused: a stream has no positions to read.
    """

    _named: dict[str, Any] | None = None

    def __init__(
        self,
        path: str,
        config: str | None = None,
        download: bool = False,
        revision: str | None = None,
        splits: dict[str, str | list[str]] | None = None,
        columns: dict[str, str | list[str] | dict[str, str]] | None = None,
        id: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        split: str | None = None,
        group: str | None = None,
        classes: dict[str, list[str]] | None = None,
        root: str | None = None,
        streaming: bool = False,
    ) -> None:
        if streaming:
            raise DataError(
                f"The stream '{path}' has no positions, so no order, split or resume: write it once, with "
                "`datasets.Dataset.from_generator(lambda: (yield from stream)).save_to_disk(folder)` or "
                "sensorium.pack(None, 'packed.lance', source=stream), and name what was written."
            )
        self.root = root or "."
        named = self._named = self._named or _load(path, config, download, revision)
        self._chosen = _chosen(named, splits, path)
        found = self._datasets = [named[name] for _, name in self._chosen]
        counts = [len(dataset) for dataset in found]
        self._firsts = np.cumsum([0, *counts])
        schema = found[0].features.arrow_schema
        uses = KeyUses.of_options(labels, id, split, group, classes).with_class_names(class_names(schema))
        self._use(f"'{path}'", schema, columns, uses)
        parts = [pa.repeat(pa.scalar(p, pa.string()), n) for (p, _), n in zip(self._chosen, counts, strict=True)]
        keys = [_arrow(dataset, uses.columns)[:] if uses.columns else pa.table({}) for dataset in found]
        has_parts = splits is not None or any(part is not None for part, _ in self._chosen)
        self._take_keys(
            joined_keys(keys, [f"the split {name} of '{path}'" for _, name in self._chosen]),
            pa.chunked_array(parts) if has_parts and split is None else None,
            sum(counts),
        )
        if left := sorted(set(named) - {name for _, name in self._chosen}):
            self._notes.append(
                f"the splits {', '.join(left)} of '{path}' are not read: name them in data.source.splits"
            )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _of_datasets, (self._arguments, self._options, self._named)

    def _rows(self, positions: np.ndarray, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.Table | BadSample]]:
        number_M = np.searchsorted(self._firsts, positions, "right") - 1
        for number in np.unique(number_M):
            which = np.flatnonzero(number_M == number)
            dataset = _arrow(self._datasets[number], columns)
            yield which, dataset[(positions[which] - self._firsts[number]).tolist()]


def _of_datasets(arguments: tuple[Any, ...], options: dict[str, Any], named: dict[str, Any]) -> HFSource:
    """Return a source of datasets that are loaded already; they pickle as the names of their files."""
    source = HFSource.__new__(HFSource, *arguments, **options)
    source._named = named
    source.__init__(*arguments, **options)  # type: ignore[misc]
    return source


def _arrow(dataset: Any, columns: list[str]) -> Any:
    """Return a dataset whose rows are Arrow tables, nothing decoded."""
    return dataset.with_format("arrow", columns=columns)


def _load(path: str, config: str | None, download: bool, revision: str | None) -> dict[str, Any]:
    """Return the splits of a dataset."""
    folder = Path(path).expanduser()
    if any((folder / name).exists() for name in SAVED):
        return _saved(folder)
    if not download:
        raise DataError(
            f"'{path}' is no folder that `save_to_disk` of Hugging Face datasets wrote: name one; set "
            "data.source.download=true if `datasets.load_dataset` may fetch and convert it; a folder of Parquet files "
            "is read by the source 'parquet'."
        )
    try:
        found = datasets.load_dataset(os.fspath(folder) if folder.exists() else path, config, revision=revision)
    except Exception as error:  # the scripts of datasets raise whatever they like
        raise DataError(
            f"`datasets.load_dataset` cannot load '{path}': {one_line(error)}; check data.source."
        ) from error
    return dict(found) if isinstance(found, dict) else {WHOLE: found}


def _saved(folder: Path) -> dict[str, Any]:
    """Return the splits that a folder of `save_to_disk` holds.

    Raises:
        DataError: when a file of it is damaged, or missing.
    """
    try:
        if not (folder / SAVED[0]).exists():
            return {WHOLE: _saved_split(folder)}
        return {name: _saved_split(folder / name) for name in _said(folder / SAVED[0])["splits"]}
    except FileNotFoundError as error:
        missing = error.filename or one_line(error)
        raise DataError(f"A file of the dataset '{folder}' is missing: {missing}; write it again.") from error
    except DAMAGE as error:
        if is_transient(error):
            raise
        raise DataError(
            f"'{folder}' cannot be read as a Hugging Face dataset: {one_line(error)}; is it damaged, or cut short?"
        ) from error


def _saved_split(folder: Path) -> Any:
    """Return one split; of one without rows `save_to_disk` writes no file, and `datasets` reads nothing."""
    if _said(folder / SAVED[1])["_data_files"]:
        return datasets.load_from_disk(os.fspath(folder))
    features = datasets.DatasetInfo.from_directory(os.fspath(folder)).features or datasets.Features()
    return datasets.Dataset.from_dict({name: [] for name in features}, features=features)


def _said(file: Path) -> dict[str, Any]:
    """Return what a file of JSON says."""
    return json.loads(file.read_text("utf-8"))


def _chosen(
    named: dict[str, Any], splits: dict[str, str | list[str]] | None, path: str
) -> list[tuple[str | None, str]]:
    """Return which splits are read, each with its part."""
    if not named:
        raise DataError(f"'{path}' has no splits, so no rows.")
    if splits is None:
        if list(named) == [WHOLE]:
            return [(None, WHOLE)]
        splits = {name: name for name in named if part_name(name) is not None}
        if not splits:
            raise DataError(
                f"The splits of '{path}' are {', '.join(named)}: say which part each is, as data.source.splits="
                f"{{train: {next(iter(named))}}}."
            )
    found: list[tuple[str | None, str]] = []
    for word, names in splits.items():
        if (part := part_name(word)) is None:
            raise DataError(f"data.source.splits names '{word}'; a split is train, val or test.")
        found += [(part, name) for name in ([names] if isinstance(names, str) else names)]
    for _, name in found:
        if name not in named:
            raise DataError(
                f"'{path}' has no split '{name}'{did_you_mean(name, named)}; its splits are: {', '.join(named)}."
            )
    return found
