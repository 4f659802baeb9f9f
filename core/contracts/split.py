"""How records are cut into parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from sensorium.contracts.source import Source


class Split(ABC):
    """Cuts the records of a source into the train, val and test part.

    What it returns is checked by the caller: the records of a group share a part, and some are left for training.
    """

    @abstractmethod
    def assign(self, source: Source, fractions: Mapping[str, float], seed: int) -> Sequence[str]:
        """Return the part of each of the N records of a source, "train", "val" or "test", in their order.

        The same records, fractions and seed have the same parts in every process.

        Args:
            source: the records; `source.key(i)` has labels, split, group and time, `source[i]` reads values too.
            fractions: "val" and "test" -> the fraction of the records that a recipe asks for, together below 1.
            seed: of its random draws, `data.split_seed`.

        Raises:
            DataError: when the records cannot be cut so, with what is missing and what to do.
        """
