"""Files of whole series: .ts (sktime and aeon), .tsv (UCR), .arff (Weka) and .npz (numpy)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from sensorium.errors import DataError
from sensorium.modalities.timeseries.precision import EXACT, narrowed

Label = str | float | None


class Series(NamedTuple):
    """One series of a file.

    Args:
        values_CT: float32 where that is exact and else float64, with nan where one is missing, or integers as a .npz
            file holds them.
        label: a class name, a number for regression, or None.
        channels: name of each channel, where the file has them.
    """

    values_CT: np.ndarray
    label: Label = None
    channels: tuple[str, ...] | None = None


def read(path: Path) -> list[Series]:
    """Return the series of a file, by its ending.

    Raises:
        DataError: when the file is not there, has another ending, or cannot be read; the message names the line.
    """
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"'{path}' ends in none of {', '.join(FORMATS)}; for tables use the source 'series-table'.")
    try:
        return list(reader(path))
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"'{path}' cannot be read: {str(error).splitlines()[0].rstrip('.')}.") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is neither blank nor a comment."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            line = line.strip()
            if line and line[0] not in "#%":
                yield number, line


def _numbers(cells: Sequence[str], path: Path, line: int) -> np.ndarray:
    """Return cells as float64 (T,), as integers (T,) where floats do not hold them; "?" and "nan" are missing."""
    try:
        values_T = np.array([np.nan if cell.strip() == "?" else float(cell) for cell in cells], np.float64)
        if (np.abs(values_T) > EXACT).any() and all(cell.strip().lstrip("+-").isdecimal() for cell in cells):
            return np.array([int(cell) for cell in cells], object)
        return values_T
    except ValueError as error:
        raise DataError(f"Line {line} of '{path}': {error}.") from error


def _channels(rows: Sequence[Sequence[str]], path: Path, line: int) -> np.ndarray:
    """Return rows of cells as values (C, T); a channel that ends early is missing from there on."""
    channels = [_numbers(cells, path, line) for cells in rows]
    kind = object if any(values_T.dtype == object for values_T in channels) else np.float64
    values_CT = np.full((len(rows), max(map(len, rows))), np.nan, kind)
    for row_T, values_T in zip(values_CT, channels, strict=True):
        row_T[: len(values_T)] = values_T
    return narrowed(values_CT)


def _ts(path: Path) -> Iterator[Series]:
    header: dict[str, list[str]] = {}
    lines = _lines(path)
    for _, line in lines:
        key, *words = line.split()
        if key.lower() == "@data":
            break
        header[key.lower()] = words
    else:
        raise DataError(f"'{path}' has no line '@data': it is no .ts file.")

    def is_true(key: str) -> bool:
        return bool(header.get(key)) and header[key][0].lower() == "true"

    if is_true("@timestamps"):
        raise DataError(f"'{path}' has time stamps; convert it to CSV and use the source 'series-table'.")
    classes, target = is_true("@classlabel"), is_true("@targetlabel")
    for number, line in lines:
        parts = line.split(":")
        label: Label = None
        if classes or target:
            *parts, word = parts
            label = word.strip() if classes else float(_numbers([word], path, number)[0])
        if not parts:
            raise DataError(f"Line {number} of '{path}' has a label and no series.")
        yield Series(_channels([part.split(",") if part.strip() else [] for part in parts], path, number), label)


def _tsv(path: Path) -> Iterator[Series]:
    for number, line in _lines(path):
        label, *cells = line.split("\t")
        values_T = _numbers(cells, path, number)
        observed = np.flatnonzero(values_T == values_T)
        # Shorter series are padded with nan.
        yield Series(narrowed(values_T[None, : observed[-1] + 1 if len(observed) else 0]), label)


def _arff(path: Path) -> Iterator[Series]:
    attributes: list[str] = []
    lines = _lines(path)
    for _, line in lines:
        word = line.split()[0].lower()
        if word == "@data":
            break
        if word == "@attribute":
            attributes.append(line)
    else:
        raise DataError(f"'{path}' has no line '@data': it is no .arff file.")
    if not attributes:
        raise DataError(f"'{path}' has no line '@attribute': it is no .arff file.")
    classes = "{" in attributes[-1]
    target = not classes and attributes[-1].split()[1].strip("'\"").lower() in ("target", "class")
    for number, line in lines:
        rows, cells = _arff_cells(line)
        label: Label = None
        if classes or target:
            *cells, word = cells
            label = word.strip("'\"") if classes else float(_numbers([word], path, number)[0])
        yield Series(_channels(rows or [cells], path, number), label)


def _arff_cells(line: str) -> tuple[list[list[str]], list[str]]:
    r"""Return the channels of a quoted relation ('1,2\n3,4'), if there is one, and the other cells of a line."""
    if line[0] not in "'\"":
        return [], [cell.strip() for cell in line.split(",")]
    relation, _, rest = line[1:].partition(line[0])
    return [row.split(",") for row in relation.split("\\n")], [cell.strip() for cell in rest.split(",") if cell.strip()]


def _npz(path: Path) -> Iterator[Series]:
    with np.load(path, allow_pickle=False) as arrays:
        if "x" not in arrays:
            raise DataError(f"'{path}' has no array 'x'; its arrays are: {', '.join(arrays.files) or 'none'}.")
        x_NCT, y_N = arrays["x"], arrays.get("y")
        lengths_N, names = arrays.get("lengths"), arrays.get("channels")
    if x_NCT.ndim not in (2, 3):
        raise DataError(f"The array 'x' of '{path}' has {x_NCT.ndim} axes, not records, (channels,) and time.")
    x_NCT = x_NCT if x_NCT.ndim == 3 else x_NCT[:, None]
    if x_NCT.dtype.kind not in "biuf":
        raise DataError(f"The array 'x' of '{path}' holds {x_NCT.dtype}, not numbers.")
    for name, column in (("y", y_N), ("lengths", lengths_N)):
        if column is not None and column.shape != (len(x_NCT),):
            raise DataError(f"'{path}' has {len(x_NCT)} series, but '{name}' has the shape {column.shape}.")
    if names is not None and names.shape != x_NCT.shape[1:2]:
        raise DataError(f"'{path}' has {x_NCT.shape[1]} channels, but 'channels' has the shape {names.shape}.")
    channels = None if names is None else tuple(map(str, names))
    for row, values_CT in enumerate(x_NCT):
        label: Label = None
        if y_N is not None:
            label = float(y_N[row]) if y_N.dtype.kind == "f" else str(y_N[row])
        length = None if lengths_N is None else int(lengths_N[row])
        yield Series(narrowed(values_CT)[:, :length], label, channels)


FORMATS: dict[str, Callable[[Path], Iterator[Series]]] = {".ts": _ts, ".tsv": _tsv, ".arff": _arff, ".npz": _npz}
