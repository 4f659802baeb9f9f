"""The parts of a run's records as evaluation reads them: in order, each rank its slice, decoded once if cached."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sensorium.contracts import Source
from sensorium.data.cache import Cache
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import Loader, fill_cache, iterate, place_of
from sensorium.data.patience import Patience
from sensorium.data.splits import assign_parts
from sensorium.data.unreadable import UnreadableRecords
from sensorium.devices import gains_from_pinning
from sensorium.errors import SensoriumError, not_found
from sensorium.evaluation.sampling import sample_of
from sensorium.models.plan import Plan
from sensorium.parallel import collectives
from sensorium.runs.run import Run
from sensorium.seeding import uniform_of
from sensorium.types import RecordBatch


class PartReader:
    """Reads the parts of a run's records.

    Args:
        plan: the parts of the run's recipe; its modalities are fitted before anything is read.
        source: where the records come from.
        run: its table of unreadable values.
        unreadable: the file of another table, of records that are not those of the run.
    """

    def __init__(self, plan: Plan, source: Source, run: Run, unreadable: Path | None = None) -> None:
        self.plan, self.source, self.run = plan, source, run
        data = plan.recipe.data
        self.parts = assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed, plan.split())
        options = inspect.signature(type(source)).parameters
        table = unreadable or run.unreadable_file
        self.unreadable = UnreadableRecords(len(source), data.max_bad, table, self.parts, options)
        self._kept: list[Cache] = []
        self._loader: Loader | None = None

    def positions(self, part: str | np.ndarray) -> np.ndarray:
        """Return the positions in the source of the records of a part, int64 (N,), ascending.

        Args:
            part: "train", "val", "test", "all", or "probe" for a sample of train; positions are returned as they are.

        Raises:
            SensoriumError: for another part.
        """
        if isinstance(part, np.ndarray):
            return part
        if part == "all":
            return np.arange(len(self.source))
        if part == "probe":
            train, most = self.parts["train"], self.plan.recipe.evaluate.probe
            order = sorted(train.tolist(), key=lambda i: uniform_of("probe", self.source.key(i).id))
            return np.array(sorted(order[:most]), dtype=np.int64)
        if part not in self.parts:
            problem, names = f"There is no part '{part}' of the split", [*self.parts, "all"]
            raise SensoriumError(not_found(problem, part, names, f"known: {', '.join(names)}"))
        return self.parts[part]

    def sample(self, part: str, most: int | None) -> np.ndarray:
        """Return the positions of at most so many records of a part, chosen by id: int64, ascending."""
        positions = self.positions(part)
        if most is None or len(positions) <= most:
            return positions
        return positions[sample_of([self.source.key(position).id for position in positions.tolist()], most)]

    def share(self, loader: Loader) -> None:
        """Read the records that a training has in its cache from there, so that they are decoded and held once."""
        self._loader = loader

    def keep(self, part: str | np.ndarray, device: torch.device) -> Cache | None:
        """Decode this rank's slice of a part once for all later passes; None if the recipe has no cache.

        Args:
            part: the part, or positions in the source, ascending.
            device: where it will be used, and is kept if `data.cache` says so.
        """
        positions = self._slice(part)
        if self.plan.recipe.data.cache == "off" or not len(positions):
            return None
        if (cache := self._cache_of(positions)) is None:
            data = self.plan.recipe.data
            cache = fill_cache(
                self._decoder(),
                positions,
                bad=self.unreadable,
                workers=data.workers,
                place=place_of(data.cache, data.cache_dir, device),
            )
            self._kept.append(cache)
        return cache

    def batches(self, part: str | np.ndarray, device: torch.device | str = "cpu") -> Iterator[RecordBatch]:
        """Yield the usable records of this rank's slice of a part once, in order.

        Args:
            part: the part, or positions in the source, ascending.
            device: where they will be used; batches that are decoded now are pinned if a copy to it gains from that.
        """
        yield from self.in_order(self._slice(part), device)

    def in_order(self, positions: np.ndarray, device: torch.device | str = "cpu") -> Iterator[RecordBatch]:
        """Yield the usable records at positions once, in order, all of them on this rank.

        Args:
            positions: in the source, int64 (N,).
            device: as in `batches`.
        """
        size, cache = self.plan.recipe.evaluate.batch, self._cache_of(positions)
        if cache is not None:
            rows = cache.rows_of(positions)
            assert rows is not None, "it was asked"
            picked = (cache.take(rows[at : at + size]) for at in range(0, len(rows), size))
            yield from (records for records in picked if records is not None)
            return
        yield from iterate(
            self._decoder(),
            positions,
            batch=size,
            bad=self.unreadable,
            workers=self.plan.recipe.data.workers,
            pin=gains_from_pinning(torch.device(device)),
        )

    def usable(self, part: str | np.ndarray) -> np.ndarray:
        """Return the positions of the records of a part that have a value, as far as the source knows unread."""
        return self._decoder().usable(self.positions(part))

    def _slice(self, part: str | np.ndarray) -> np.ndarray:
        """Return the positions of this rank's records of a part.

        Slices consist of whole batches: a record is encoded beside the same others, whatever the number of ranks.
        """
        positions, size = self.usable(part), self.plan.recipe.evaluate.batch
        starts = np.array_split(np.arange(0, len(positions), size), collectives.world_size())[collectives.rank()]
        return positions[starts[0] : starts[-1] + size] if len(starts) else positions[:0]

    def _cache_of(self, positions: np.ndarray) -> Cache | None:
        """Return a cache that has all of these records."""
        shared = self._loader.cache if self._loader is not None else None
        caches = [*self._kept, *([shared] if shared is not None else [])]
        return next((cache for cache in caches if cache.rows_of(positions) is not None), None)

    def _decoder(self) -> RecordDecoder:
        data = self.plan.recipe.data
        return RecordDecoder(
            self.source,
            self.plan.fields,
            self.plan.modalities,
            all_values=True,
            patience=Patience(data.retries, data.timeout),
            keys=self.plan.record_keys,
        )
