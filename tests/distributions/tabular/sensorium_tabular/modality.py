"""The modality 'tabular': one row of a table.

Letters: B rows, N numeric columns, M categorical ones, T = N + M of both, numeric ones first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sensorium import BadSample, Batch, Modality, check_range, draw_text
from sensorium_tabular.columns import HIDDEN, MISSING, PRESENT, UNKNOWN, Columns, cell_of, word_of

LINES, LINE = 13, 18
"""Lines of a preview at most; height of one in pixels."""


class Row(NamedTuple):
    """One row: numbers, float32 (N,); categories, int64 (M,); states of all cells, int64 (T,)."""

    numbers: Tensor
    categories: Tensor
    state: Tensor


@dataclass
class Rows(Batch):
    """Rows of a table.

    Args:
        numbers: float (B, N), standardized; 0 in cells that are not present.
        categories: int64 (B, M), ids; 0 for unknown categories, and in cells that are not present.
        state: int64 (B, T), of every cell: 0 missing, 1 present, 2 hidden by a view.
    """

    numbers: Tensor
    categories: Tensor
    state: Tensor


class Tabular(Modality):
    """Rows of a table, with numbers, categories and missing cells.

    A raw value is a mapping from column to cell, or a sequence of cells, whose columns are then "0", "1" and so on. A
    column with a word among its cells in the train part is one of categories, any other one of numbers, which are
    standardized by the train part. None, nan, blank text and the words "?", "NA", "N/A" and "null" are missing. A
    category that the train part does not have is read as unknown.

    Args:
        categorical: columns of numbers that are categories, such as a postal code.
        bins: quantile bins of a number, the classes that masked objectives predict, >= 2.
    """

    preview_cell = 256

    def __init__(self, categorical: tuple[str, ...] = (), bins: int = 10) -> None:
        check_range("modality 'tabular'", "[2, inf)", bins=bins)
        self.categorical, self.bins = categorical, bins
        self._columns: Columns | None = None

    @property
    def columns(self) -> Columns:
        """The columns, once fitted."""
        assert self._columns is not None, "the modality 'tabular' is not fitted"
        return self._columns

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn the columns from the rows of the train part."""
        cells: dict[str, list[Any]] = {}
        count = 0
        for raw in raws:
            try:
                row = _cells(raw)
            except BadSample:
                continue  # it is counted when it is decoded
            for name in row:
                cells.setdefault(name, [None] * count)
            for name, column in cells.items():
                column.append(row.get(name))
            count += 1
        self._columns = Columns.learn(cells, self.categorical, self.bins)

    @property
    def is_fitted(self) -> bool:
        """Whether the columns are known."""
        return self._columns is not None

    def state(self) -> dict[str, Any]:
        """Return the columns."""
        return self.columns.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the columns."""
        self._columns = Columns.from_state(state, self.bins)

    def decode(self, raw: Any) -> Row:
        """Read a row.

        Raises:
            BadSample: when it is no row, has a word in a column of numbers, or no cell in any column.
        """
        row, columns = _cells(raw), self.columns
        numbers = [self._number(column.name, row.get(column.name)) for column in columns.numeric]
        words = [row.get(column.name) for column in columns.categorical]
        state = [MISSING if cell is None else PRESENT for cell in (*numbers, *words)]
        if PRESENT not in state:
            raise BadSample(f"it has no cell in any of the columns {', '.join(columns.names)[:80]}", "empty")
        scaled = [
            0.0 if value is None else (value - column.mean) / column.std
            for value, column in zip(numbers, columns.numeric, strict=True)
        ]
        ids = [
            UNKNOWN if word is None else column.ids.get(word_of(word), UNKNOWN)
            for word, column in zip(words, columns.categorical, strict=True)
        ]
        return Row(torch.tensor(scaled), torch.tensor(ids, dtype=torch.int64), torch.tensor(state))

    def _number(self, name: str, cell: float | str | None) -> float | None:
        try:
            value = None if cell is None else float(cell)
        except ValueError as error:
            raise BadSample(f"column '{name}' has numbers, and this cell is {cell!r:.40}", "unsupported") from error
        if value is not None and not math.isfinite(value):
            raise BadSample(f"column '{name}' has the number {value}", "unsupported")
        return value

    def collate(self, examples: Sequence[Row]) -> Rows:
        """Stack rows."""
        return Rows(*(torch.stack(parts) for parts in zip(*examples, strict=True)))

    def examples(self, batch: Rows) -> list[Row]:
        """Return the rows of a batch, on the CPU."""
        return [
            Row(*parts) for parts in zip(batch.numbers.cpu(), batch.categories.cpu(), batch.state.cpu(), strict=True)
        ]

    def describe(self, raw: Any, example: Row) -> dict[str, float | bool | str]:
        """Return how many cells are missing, and whether a category is unknown."""
        missing = int((example.state == MISSING).sum())
        present_M = example.state[len(self.columns.numeric) :] == PRESENT
        return {
            "missing cells": missing,
            "unknown category": bool((present_M & (example.categories == UNKNOWN)).any()),
        }

    def caption(self, raw: Any) -> str | None:
        """Return the cells in words."""
        try:
            return ", ".join(f"{name} {_shown(cell)}" for name, cell in _cells(raw).items() if cell is not None)[:200]
        except BadSample:
            return None

    def preview(self, example: Row) -> Image.Image:
        """Write the first cells on an image, a line each: "-" for a missing cell, "[_]" for a hidden one."""
        lines = [f"{name[:16]}: {cell}" for name, cell in self.words(example).items()]
        lines = lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."]
        image = Image.new("RGB", (180, 8 + LINE * len(lines)), "white")
        for row, line in enumerate(lines):
            draw_text(image, (4, 4 + LINE * row), line, 13)
        return image

    def words(self, row: Row) -> dict[str, str]:
        """Return column -> its cell as a word, in the table's own units."""
        values = [
            f"{round(x * c.std + c.mean, 4) + 0.0:.4g}"
            for x, c in zip(row.numbers.tolist(), self.columns.numeric, strict=True)
        ]
        values += [
            (c.vocabulary[i - 1] if i != UNKNOWN else "(unknown)")
            for i, c in zip(row.categories.tolist(), self.columns.categorical, strict=True)
        ]
        signs = {MISSING: "-", HIDDEN: "[_]"}
        states = row.state.tolist()
        return {n: signs.get(s, v) for n, s, v in zip(self.columns.names, states, values, strict=True)}

    @property
    def baseline_description(self) -> str:
        """What the baseline features are."""
        return "standardized numbers, one-hot categories, and which cells are missing"

    def baseline_features(self, batch: Rows) -> np.ndarray:
        """Return the features of the description: float32 (B, N + all vocabularies + T)."""
        present_BT = batch.state == PRESENT
        present_BM = present_BT[:, len(self.columns.numeric) :]
        one_hot = [
            torch.nn.functional.one_hot(batch.categories[:, m], column.size) * present_BM[:, m, None]
            for m, column in enumerate(self.columns.categorical)
        ]
        return torch.cat([batch.numbers, *one_hot, ~present_BT], dim=1).float().numpy()


def cell_classes(batch: Rows, edges_NE: Tensor, offsets_T: Tensor) -> Tensor:
    """Return the class of every cell, int64 (B, T), by the edges of bins and the first class of each column."""
    bins_BN = (batch.numbers[..., None] > edges_NE).sum(-1)
    return torch.cat([bins_BN, batch.categories], dim=1) + offsets_T


def _cells(raw: Any) -> dict[str, float | str | None]:
    """Return a raw value as column -> cell.

    Raises:
        BadSample: when it is no mapping or sequence of cells.
    """
    if isinstance(raw, np.ndarray | tuple | list):
        raw = {str(position): cell for position, cell in enumerate(raw)}
    if not isinstance(raw, Mapping):
        raise BadSample(f"a row is a mapping from column to cell, or a sequence of cells, not a {type(raw).__name__}")
    found = {}
    for name, cell in raw.items():
        try:
            found[str(name)] = cell_of(cell)
        except ValueError as error:
            raise BadSample(f"column '{name}' cannot be read: {error}", "unsupported") from error
    return found


def _shown(cell: float | str) -> str:
    return cell if isinstance(cell, str) else f"{cell:.4g}"
