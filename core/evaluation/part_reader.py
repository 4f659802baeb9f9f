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
from sensorium.data.selected import whole_of
from sensorium.data.splits import PARTS, assign_parts, numbers_of, positions_of
from sensorium.data.unreadable import UnreadableRecords
from sensorium.devices import gains_from_pinning
from sensorium.errors import DataError, SensoriumError, not_found
from sensorium.models.plan import Plan
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.runs.records import kept_parts
from sensorium.runs.run import Run
from sensorium.seeding import uniforms_of
from sensorium.types import RecordBatch


class PartReader:
    """Reads the parts of a run's records.

    Args:
        plan: the parts of the run's recipe; its modalities are fitted before anything is read.
        source: where the records come from.
        run: its table of unreadable values.
        unreadable: the file of another table, of records that are not those of the run.
        is_reference: whether they are those of `evaluate.reference`, of which the run has no parts on file.
    """

    def __init__(
        self, plan: Plan, source: Source, run: Run, unreadable: Path | None = None, is_reference: bool = False
    ) -> None:
        self.plan, self.source, self.run = plan, source, run
        self.columns, data = source.columns(), plan.recipe.data
        cut = {"records": self.columns.fingerprint(), **data.model_dump(include={"val", "test", "split_seed"})}
        whole, selected_M = whole_of(source)
        if selected_M is not None:
            cut["selected from"] = whole.columns().fingerprint()
        self.cut = {**cut, "split": plan.recipe.plain()["data"]["split"]}
        self.parts = self._assigned() if is_reference else self._parts()
        options = inspect.signature(type(source)).parameters
        table = unreadable or run.unreadable_file
        self.unreadable = UnreadableRecords(len(source), data.max_bad, table, self.parts, options)
        self._kept: list[Cache] = []
        self._loader: Loader | None = None

    def _parts(self) -> dict[str, np.ndarray]:
        """Return part -> the positions of its records: as the run has them on file, or cut on rank 0; collective.

        Raises:
            DataError: when ranks have opened different records.
        """
        found = collectives.all_gather_objects((len(self.columns), self.cut["records"]))
        for rank, other in enumerate(found):
            if other != found[0]:
                raise DataError(
                    f"Rank {rank} has opened other records than rank 0 ({other[0]:,} and {found[0][0]:,}, or other ids "
                    "or labels): every rank must read the same files."
                )

        def numbers() -> np.ndarray:
            kept = kept_parts(self.run, len(self.columns), self.cut, PARTS)
            return numbers_of(self._assigned(), len(self.columns)) if kept is None else kept

        return positions_of(on_rank_zero(numbers))

    def _assigned(self) -> dict[str, np.ndarray]:
        data = self.plan.recipe.data
        return assign_parts(self.source, {"val": data.val, "test": data.test}, data.split_seed, self.plan.split())

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
            return self._first_by("probe", self.parts["train"], self.plan.recipe.evaluate.probe)
        if part not in self.parts:
            problem, names = f"There is no part '{part}' of the split", [*self.parts, "all"]
            raise SensoriumError(not_found(problem, part, names, f"known: {', '.join(names)}"))
        return self.parts[part]

    def measured(self, part: str) -> np.ndarray:
        """Return the positions of the records of a part that are measured: of a large one a sample, chosen by id."""
        return self.sample(part, self.plan.recipe.evaluate.records)

    def sample(self, part: str, most: int | None) -> np.ndarray:
        """Return the positions of at most so many records of a part, chosen by id: int64, ascending."""
        positions = self.positions(part)
        if most is None or len(positions) <= most:
            return positions
        return self._first_by("sample", positions, most)

    def _first_by(self, name: str, positions: np.ndarray, most: int) -> np.ndarray:
        """Return at most so many of the positions, ascending: those whose ids come first by a hash."""
        uniform_N = uniforms_of(name, texts=self.columns.id_column(positions))
        return positions[np.sort(np.argsort(uniform_N, kind="stable")[:most])]

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
