"""What is learned of the columns of a table: kinds, scales, vocabularies and marginal distributions.

Letters: N numeric columns, M categorical ones, T = N + M of both (numeric ones first), S order statistics of a column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

ORDER_STATISTICS = 256
"""S: how many evenly spaced order statistics stand for the marginal distribution of a column."""
MISSING_WORDS = ("", "?", "NA", "N/A", "nan", "NaN", "null", "None")
"""Words that stand for a missing cell in tables."""
MISSING, PRESENT, HIDDEN = 0, 1, 2
"""States of a cell: without a value; with one; with one that a view hides."""
UNKNOWN = 0
"""The id of a category that the train part does not have; known ones are counted from 1."""


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers.

    Args:
        name: its name.
        mean: mean of its values.
        std: their standard deviation, > 0.
        marginal: order statistics of its standardized cells, None for missing ones.
    """

    name: str
    mean: float
    std: float
    marginal: list[float | None]


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of categories.

    Args:
        name: its name.
        vocabulary: its categories, in order of their ids 1, 2, ...
        marginal: ids of sorted cells, None for missing ones.
    """

    name: str
    vocabulary: list[str]
    marginal: list[int | None]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each category, from 1."""
        return {word: number for number, word in enumerate(self.vocabulary, start=1)}

    @property
    def size(self) -> int:
        """Number of ids, that of unknown categories included."""
        return len(self.vocabulary) + 1


@dataclass(frozen=True)
class Columns:
    """All columns, and the classes of their cells: of a number its quantile bin, of a category its id.

    Args:
        numeric: N columns.
        categorical: M columns.
        bins: quantile bins of a number.
    """

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    bins: int

    @classmethod
    def learn(cls, cells: Mapping[str, list[Any]], categorical: Iterable[str], bins: int) -> Columns:
        """Learn columns from their cells, None where one is missing; a column without a value is left out."""
        as_categories, numbers, categories = set(categorical), [], []
        for name, column in cells.items():
            values = [cell for cell in column if cell is not None]
            if not values:
                continue
            missing = len(column) - len(values)
            if name not in as_categories and (found := _numbers(values)) is not None:
                mean, std = float(np.mean(found)), float(np.std(found)) or 1.0
                marginal = _order_statistics([(value - mean) / std for value in sorted(found)], missing)
                numbers.append(NumericColumn(name, mean, std, marginal))
            else:
                words = sorted({word_of(cell) for cell in values})
                ids = {word: number for number, word in enumerate(words, start=1)}
                marginal = _order_statistics(sorted(ids[word_of(cell)] for cell in values), missing)
                categories.append(CategoricalColumn(name, words, marginal))
        return cls(tuple(numbers), tuple(categories), bins)

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {key: list(map(asdict, getattr(self, key))) for key in ("numeric", "categorical")}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], bins: int) -> Columns:
        """Restore what `state` returned."""
        numeric = tuple(NumericColumn(**column) for column in state["numeric"])
        return cls(numeric, tuple(CategoricalColumn(**column) for column in state["categorical"]), bins)

    @property
    def names(self) -> list[str]:
        """The T names, numeric columns first."""
        return [column.name for column in (*self.numeric, *self.categorical)]

    @cached_property
    def classes(self) -> int:
        """Number of classes of all cells: each column has its own."""
        return len(self.numeric) * self.bins + sum(column.size for column in self.categorical)

    @cached_property
    def offsets(self) -> Tensor:
        """The first class of each column: int64 (T,)."""
        sizes = [self.bins] * len(self.numeric) + [column.size for column in self.categorical]
        return torch.tensor([0, *np.cumsum(sizes)[:-1]], dtype=torch.int64)

    @cached_property
    def edges(self) -> Tensor:
        """The upper edges of all bins of a number but the last: float (N, bins - 1)."""
        levels = np.linspace(0, 1, self.bins + 1)[1:-1]
        present = [[value for value in column.marginal if value is not None] for column in self.numeric]
        return torch.tensor(np.array([np.quantile(values, levels) for values in present]), dtype=torch.float32).reshape(
            len(self.numeric), self.bins - 1
        )

    @cached_property
    def marginals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Order statistics: numbers, float (S, N); categories, int64 (S, M); states of both, int64 (S, T)."""
        columns = [column.marginal for column in (*self.numeric, *self.categorical)]
        state_ST = torch.tensor([[MISSING if cell is None else PRESENT for cell in column] for column in columns]).T
        filled_ST = torch.tensor([[0.0 if cell is None else cell for cell in column] for column in columns]).T
        numbers = len(self.numeric)
        return filled_ST[:, :numbers].contiguous(), filled_ST[:, numbers:].long(), state_ST.contiguous()


def _order_statistics(ordered: list[Any], missing: int) -> list[Any]:
    """Return S evenly spaced cells of an ordered column, its missing ones, None, behind all others."""
    count = len(ordered) + missing
    ranks = (np.arange(ORDER_STATISTICS) + 0.5) * count / ORDER_STATISTICS
    return [ordered[rank] if rank < len(ordered) else None for rank in ranks.astype(int).tolist()]


def _numbers(cells: list[float | str]) -> list[float] | None:
    """Return cells as numbers, or None when one of them is none."""
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return None


def word_of(cell: float | str) -> str:
    """Return a cell as a category: 3.0 is "3", as in a table of whole numbers."""
    return cell if isinstance(cell, str) else f"{cell:.15g}"


def cell_of(raw: Any) -> float | str | None:
    """Return a cell as a number, a category, or None for a missing one.

    Raises:
        ValueError: when it is none of these, or infinite.
    """
    if raw is None or (isinstance(raw, str) and raw.strip() in MISSING_WORDS):
        return None
    if isinstance(raw, bool | np.bool_ | str):
        return str(raw).strip()
    if isinstance(raw, int | float | np.integer | np.floating):
        value = float(raw)
        if math.isinf(value):
            raise ValueError("it is infinite")
        return None if math.isnan(value) else value
    raise ValueError(f"a {type(raw).__name__} is neither a number nor a category")
