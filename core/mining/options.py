"""Options of hard-negative mining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sensorium.errors import SensoriumError, check_range


@dataclass(frozen=True)
class MiningOptions:
    """Which candidates are hard negatives.

    Args:
        count: largest number of negatives of a query, >= 1.
        ranks: first and last rank of candidates, >= 1; 1 is the nearest that is neither a positive nor a duplicate. A
            first rank above 1 skips the nearest, which are often false negatives.
        margin: relative margin, 0 <= margin < 1: a negative's cosine is at most (1 - margin) times the query's *least*
            cosine with a positive.
        choose: "hardest", or "random" among the remaining candidates (by seed and record id).
        seed: of the random choice.
    """

    count: int = 5
    ranks: tuple[int, int] = (1, 100)
    margin: float = 0.05
    choose: Literal["hardest", "random"] = "hardest"
    seed: int = 0

    def __post_init__(self) -> None:
        first, last = self.ranks
        if self.count < 1 or not 1 <= first <= last:
            raise SensoriumError(
                f"Mining needs count >= 1 and 1 <= first rank <= last rank, not {self.count} and {first} to {last}."
            )
        if self.choose not in ("hardest", "random"):
            raise SensoriumError(f"The option 'choose' of mining is 'hardest' or 'random', not '{self.choose}'.")
        check_range("mining", "[0, 1)", margin=self.margin)
