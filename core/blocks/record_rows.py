"""Where the rows of each modality stand among the records of a batch. Letters: B records, N rows of a modality."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from sensorium.devices import to_device
from sensorium.errors import SensoriumError
from sensorium.types import View


class RecordRows:
    """Where the rows of each modality stand among the B records of a batch, known on the host.

    Args:
        views: modality name -> its view; those without `present` have a row for each record.

    Raises:
        SensoriumError: when views are of different numbers of records.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        counts = {name: len(view) if view.present is None else len(view.present) for name, view in views.items()}
        self.count = next(iter(counts.values()))
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
            raise SensoriumError(
                f"The views are of different numbers of records ({told}): views of records that lack a modality say "
                "so, View(..., present=mask), one entry for each record of the batch."
            )
        some = {name: np.flatnonzero(view.present) for name, view in views.items() if view.present is not None}
        device = next(iter(views.values())).batch.device
        self._index = dict(zip(some, to_device(some.values(), device), strict=True))

    def spread(self, name: str, x: Tensor) -> Tensor:
        """Return what belongs to the N rows of a modality, (N, ...), for all records (B, ...); zero where it lacks."""
        if name not in self._index:
            return x
        return x.new_zeros(self.count, *x.shape[1:]).index_copy(0, self._index[name], x)

    def pick(self, name: str, x: Tensor) -> Tensor:
        """Return of what belongs to all records, (B, ...), that of the rows of a modality (N, ...)."""
        return x.index_select(0, self._index[name]) if name in self._index else x
