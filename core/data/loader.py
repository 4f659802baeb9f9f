"""The loader: batches of records for the steps of a training, the same for any number of workers.

A batch depends on (seed, step) alone, never on the number of workers, on a cache or on where a run was resumed.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from multiprocessing.process import BaseProcess, parent_process
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from sensorium.contracts import Modality, Source, ViewGenerator
from sensorium.data.ahead import deliver_ahead
from sensorium.data.cache import Cache, CachePlace, filled
from sensorium.data.dataset import DatasetSource
from sensorium.data.decoding import Decoded, RecordDecoder, overrides_stage
from sensorium.data.described import descriptors_apart, undescribed
from sensorium.data.mined_negatives import MinedNegatives
from sensorium.data.neighbor_batches import neighbors_of
from sensorium.data.order import EpochOrder
from sensorium.data.orders import OrderName, permutations
from sensorium.data.patience import Patience, Whereabouts
from sensorium.data.selected import Selected
from sensorium.data.unreadable import UnreadableRecords
from sensorium.devices import gains_from_pinning
from sensorium.errors import DataError
from sensorium.interruption import SIGNALS
from sensorium.parallel.cores import cores_of_rank
from sensorium.seeding import generator
from sensorium.types import Batch, RecordBatch

T = TypeVar("T")
log = logging.getLogger("sensorium")
CHUNK = 256
"""Records that are decoded at a time when a cache is filled."""
LOOK = 5.0
"""Seconds between looks at a worker that is waited for, and of a worker at the process that it works for."""


class Loader:
    """Feeds a training on one rank.

    Args:
        source: where the records come from.
        positions: which of its records to train on: int64 (N,).
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality.
        seed: of the order and the stages.
        batch: records of one optimizer step, over all ranks.
        bad: reports unreadable values, and stops when too many records have one.
        workers: processes that decode; "auto" is one for every core of this rank, at most 8. 0 decodes in this one.
        cache: "off" decodes again in every epoch; the others decode once and keep the result: "ram" and "disk" in one
            file of all ranks of a node, in memory or in `cache_dir`, "device" on the device of each rank. A cache that
            has the records already is picked from.
        cache_dir: the folder of a cache on disk; None for the system's temporary one.
        device: where batches are delivered.
        rank: of this process.
        world: number of ranks.
        accumulate: micro-batches in a step.
        stages: modality name -> view generator; one that overrides `stage` changes examples before collation.
        require: whether a record needs "all" modalities or "any" of them to be used.
        negatives: mined negatives of the records, delivered beside them.
        order: "shuffled", "blocks" or "randperm" (see `sensorium.data.orders`).
        window: of blocks, most fragments that are shuffled together.
        neighbors: a file of mined pairs; what is paired there comes in one batch (see `neighbors_of`).
        described: names of the modalities whose values come with their descriptors.
        patience: with the store, when it fails or stands still.
        keys: names of the keys that records are recognized by, beside "record" (see `record_keys`); None for all.

    Raises:
        DataError: when the source lacks a field, no record has what is needed, a batch is larger than the data or
            smaller than its parts, or a stage is asked to work from a cache.
    """

    def __init__(
        self,
        source: Source,
        positions: np.ndarray,
        fields: Mapping[str, str],
        modalities: Mapping[str, Modality],
        *,
        seed: int,
        batch: int,
        bad: UnreadableRecords,
        workers: int | Literal["auto"] = "auto",
        cache: Literal["off", "ram", "disk", "device"] | Cache = "off",
        cache_dir: str | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        stages: Mapping[str, ViewGenerator] | None = None,
        require: Literal["all", "any"] = "any",
        negatives: MinedNegatives | None = None,
        order: OrderName = "shuffled",
        window: int | None = None,
        neighbors: str | None = None,
        described: Collection[str] = (),
        patience: Patience | None = None,
        keys: Collection[str] | None = None,
    ) -> None:
        if cache != "off":
            for name, views in (stages or {}).items():
                if overrides_stage(views):
                    raise DataError(
                        f"The views of '{name}' ({type(views).__name__}) change each example before it is batched, "
                        f"which a cache of finished batches cannot serve; set data.cache: off, not {cache}."
                    )
        if batch < world * accumulate:
            raise DataError(
                f"data.batch is {batch}, fewer than one record for each of {world} ranks times {accumulate} "
                "micro-batches; raise data.batch or lower the accumulation."
            )
        self._decoder = RecordDecoder(
            *(
                source,
                fields,
                modalities,
                stages,
                seed,
                require == "all",
                negatives,
                cache != "off",
                described,
                patience,
                keys,
            )
        )
        self._seed = seed
        self.mined = {negatives.modality(fields): negatives.count} if negatives is not None else {}
        self._positions = self._decoder.usable(np.asarray(positions, dtype=np.int64))
        near = neighbors_of(neighbors, source.columns().take(self._positions)) if neighbors else None
        by_epoch = permutations(order, source, self._positions, seed, window)
        self.order = EpochOrder(len(self._positions), batch, seed, near, by_epoch)
        self.bad = bad
        self._workers, self._device = worker_count(workers), torch.device(device)
        self._pins = gains_from_pinning(self._device)
        self._rank, self._world, self._accumulate = rank, world, accumulate
        self._kind, self._cache_dir = "shared" if isinstance(cache, Cache) else cache, cache_dir
        self.cache = cache if isinstance(cache, Cache) else None

    mined: dict[str, int]
    """Modality name -> the most mined negatives of a record in it."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every record is seen once, but for less than a batch of them."""
        return self.order.steps_per_epoch

    def example(self, modality: str) -> Batch:
        """Return a batch of one example of a modality, the first that can be read, on the device.

        Raises:
            DataError: when no record has one.
        """
        for position in self._positions:
            decoded = self._decoder[0, np.array([position])]
            if decoded.failure is not None:
                raise decoded.failure
            if decoded.records is not None and modality in decoded.records.batches:
                return undescribed(decoded.records.batches[modality]).to(self._device)
        raise DataError(
            f"None of the {len(self._positions)} records of the train part has a readable value of the modality "
            f"'{modality}': repair the data, or leave the modality out."
        )

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Fill the cache, if there is to be one; otherwise `batches` fills it.

        Args:
            progress: called with the number of records that this rank has decoded so far, and of those that it will.
        """
        if self._kind == "off" or self.cache is not None:
            return
        self.cache = fill_cache(
            self._decoder,
            self._positions,
            bad=self.bad,
            workers=self._workers,
            place=place_of(self._kind, self._cache_dir, self._device, together=True),
            progress=progress,
        )

    def batches(self, start: int, stop: int) -> Iterator[list[RecordBatch]]:
        """Yield, for every step from `start` to before `stop`, this rank's micro-batches on the device.

        Raises:
            DataError: when too many records are unreadable, or all of a micro-batch of this rank.
            PluginError: when a source or modality fails on a record in any way but `BadSample`.
        """
        self.prepare()
        made = self._from_source(start, stop) if self.cache is None else self._from_cache(self.cache, start, stop)
        yield from deliver_ahead(self._steps(made, start, stop), self._device)

    def _steps(self, made: Iterator[RecordBatch | None], start: int, stop: int) -> Iterator[list[RecordBatch]]:
        """Yield the micro-batches of each step."""
        for step in range(start, stop):
            if step % self.steps_per_epoch == 0:
                self.bad.end_of_pass()
            yield [self._usable(next(made), step) for _ in range(self._accumulate)]

    def _micro_batches(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the epoch of every micro-batch of this rank, and which of the training's records it takes."""
        for step in range(start, stop):
            for rows in self.order.micro_batches(step, self._rank, self._world, self._accumulate):
                yield self.order.epoch(step), rows

    def _from_source(self, start: int, stop: int) -> Iterator[RecordBatch | None]:
        work = ((epoch, self._positions[rows]) for epoch, rows in self._micro_batches(start, stop))
        return (made.records for made in _decoded(self._decoder, work, self._workers, self.bad, self._pins))

    def _from_cache(self, cache: Cache, start: int, stop: int) -> Iterator[RecordBatch | None]:
        rows_of = cache.rows_of(self._positions)
        assert rows_of is not None, "the cache has the records of the training"
        return (
            cache.take(rows_of[rows], (self._seed, "value", epoch)) for epoch, rows in self._micro_batches(start, stop)
        )

    def _usable(self, records: RecordBatch | None, step: int) -> RecordBatch:
        if records is None:
            raise DataError(
                f"None of the records that rank {self._rank} feeds into step {step} can be used "
                f"({len(self.bad)} unreadable records so far); repair the data or raise data.batch."
            )
        return descriptors_apart(records)


def fill_cache(
    decoder: RecordDecoder,
    positions: np.ndarray,
    *,
    bad: UnreadableRecords,
    workers: int | Literal["auto"],
    place: CachePlace,
    progress: Callable[[int, int], None] | None = None,
) -> Cache:
    """Decode the records at `positions`, int64 (N,), and keep them at a place.

    Args and errors are those of `filled`, `Loader` and `Loader.prepare`.
    """
    count = len(positions)
    chunks = np.split(np.arange(count), range(CHUNK, count, CHUNK))

    def decode(chunks: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Decoded]]:
        work = ((0, positions[rows]) for rows in chunks)
        made = zip(chunks, _decoded(decoder, work, worker_count(workers), bad), strict=True)
        yield from _reported(made, sum(map(len, chunks)), progress)

    cache = filled(chunks, decode, positions, decoder.source.columns().id_column(positions), place)
    if place.together:
        bad.share()
    return cache


def iterate(
    decoder: RecordDecoder,
    positions: np.ndarray,
    *,
    batch: int,
    bad: UnreadableRecords,
    workers: int | Literal["auto"] = "auto",
    pin: bool = False,
) -> Iterator[RecordBatch]:
    """Yield the usable records at `positions` once, in order, in batches of at most `batch`, on the CPU.

    Args and errors are those of `Loader`; with `pin`, batches are in page-locked memory.
    """
    positions = decoder.usable(np.asarray(positions, dtype=np.int64))
    work = ((0, positions[at : at + batch]) for at in range(0, len(positions), batch))
    for made in _decoded(decoder, work, worker_count(workers), bad, pin):
        if made.records is not None:
            yield made.records


def place_of(cache: str, cache_dir: str | None, device: torch.device, together: bool = False) -> CachePlace:
    """Return where `data.cache` keeps decoded records for batches that are needed on a device."""
    folder = (cache_dir or tempfile.gettempdir()) if cache == "disk" else None
    on_device = cache == "device"
    pin = gains_from_pinning(device) and not on_device
    return CachePlace(device if on_device else torch.device("cpu"), pin, folder, together)


def worker_count(workers: int | Literal["auto"]) -> int:
    """Return the number of loader processes; "auto" is one for every core of this rank, at most 8."""
    if workers != "auto":
        return workers
    return min(8, cores_of_rank())


def _decoded(
    decoder: RecordDecoder,
    work: Iterable[tuple[int, np.ndarray]],
    workers: int,
    bad: UnreadableRecords,
    pin: bool = False,
) -> Iterator[Decoded]:
    """Yield the outcome of each piece of work, in order; count unreadable records and raise failures."""
    made = from_workers(decoder, work, workers, decoder.source, decoder.patience.timeout, pin)
    failures = 0
    try:
        for decoded in made:
            for value in decoded.bad:
                bad.add(value)
            if decoded.failure is not None:
                raise decoded.failure
            for said in decoded.retried:
                failures += 1
                if failures & (failures - 1) == 0:  # the first, second, fourth, and so on
                    log.warning(
                        "the store has failed %d times so far, and was asked again; last for %s", failures, said
                    )
            yield decoded
    finally:
        made.close()
        bad.end_of_pass()


def from_workers(
    dataset: torch.utils.data.Dataset[T],
    work: Iterable[Any],
    workers: int,
    source: Source,
    timeout: float | None,
    pin: bool = False,
) -> Generator[T, None, None]:
    """Yield `dataset[piece]` for each piece of work, in order, made by so many processes, or by this one if 0.

    One set of workers serves all of the work. A private generator keeps torch's global one out of it.

    Args:
        dataset: reads records of the source.
        work: what it is asked for.
        workers: number of processes.
        source: names the records in an error.
        timeout: seconds that a worker may stand still in one reading; None: any number.
        pin: whether what they make is moved to page-locked memory.

    Raises:
        DataError: when a worker was killed, or has stood still too long.
    """
    whereabouts = Whereabouts(workers) if workers and timeout is not None else None
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=work,
        num_workers=workers,
        multiprocessing_context=None if source.fork_safe or not workers else "spawn",
        collate_fn=_as_is,
        pin_memory=pin,
        worker_init_fn=partial(_start_worker, whereabouts),
        generator=generator("loader"),
        timeout=min(LOOK, timeout / 2) if whereabouts is not None else 0,  # type: ignore[operator]
    )
    with _signals_held_back(), _known_forks(source):
        made = iter(loader)
    try:
        for worker in cycle(range(max(workers, 1))):  # in turn, whoever is ready first
            watch = Watch(whereabouts, worker, loader.timeout, timeout)
            if (one := _next(made, watch, source)) is None:
                return
            yield one
    finally:
        del made  # ends the workers now, even where a traceback keeps this frame


class Watch:
    """Tells how long a worker has stood still, in looks at it: time in which this process was stopped does not count.

    Args:
        whereabouts: of all workers.
        worker: the one that is waited for.
        every: seconds between looks.
        most: seconds that it may stand still.
    """

    def __init__(self, whereabouts: Whereabouts | None, worker: int, every: float, most: float | None) -> None:
        self._whereabouts, self._worker, self._every, self.most = whereabouts, worker, every, most
        self._begun, self._still = -1, 0.0

    def look(self) -> tuple[int, int] | None:
        """Return where the worker stands still, if it has for too long: position of a record, and how many are read."""
        assert self._whereabouts is not None
        assert self.most is not None
        begun, position, count = self._whereabouts.of(self._worker)
        self._still = self._still + self._every if begun == self._begun else 0.0
        self._begun = begun
        return (position, count) if self._still >= self.most else None


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold what asks to stop back from the workers that are started meanwhile, until each of them is past its start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _known_forks(source: Source) -> Iterator[None]:
    """Leave out what Lance and LanceDB warn of at forks of a process that has used them, where it is known to be safe.

    Their threads are not in a forked process, which therefore must not read Lance. A source of this library that does
    has its workers spawned (`fork_safe`), the workers of the others do not touch it, and it is at rest when they are
    started. Of what a caller wrote nothing is known: there a warning may be all that tells of workers that will hang.
    """
    reads = source.source if isinstance(source, Selected) else source
    if not type(reads).__module__.startswith("sensorium.") or isinstance(reads, DatasetSource):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lance is not fork-safe|lancedb fork support is experimental")
        yield


def _next(made: Iterator[T], watch: Watch, source: Source) -> T | None:
    """Return what comes next, or None at the end."""
    while True:
        try:
            return next(made, None)
        except RuntimeError as error:
            if "DataLoader timed out" in str(error):
                if (where := watch.look()) is not None:
                    _kill(getattr(made, "_workers", []))
                    raise DataError(_stands_still(*where, watch.most, source)) from None
            elif "DataLoader worker" in str(error):
                raise DataError(
                    "A loader worker was killed, most often because memory (or /dev/shm) ran out; "
                    "set data.workers or data.batch lower."
                ) from error
            else:
                raise


def _kill(workers: Iterable[BaseProcess]) -> None:
    """End workers of which one stands still, and heeds no other signal."""
    for worker in workers:
        worker.kill()
        with suppress(RuntimeError):  # by which torch tells that a worker was killed
            worker.join(LOOK)


def _stands_still(position: int, count: int, seconds: float | None, source: Source) -> str:
    """Return the sentence about a worker that stands still in reading `count` records from a position on."""
    first = f"'{source.key(position).id}'"
    what = (
        f"the record {first}"
        if count == 1
        else f"{count} records, the first of them {first}"
        if count
        else "nothing yet"
    )
    return (
        f"A loader worker has stood still for {seconds:g} s (data.timeout), reading {what}: its store, or what decodes "
        "the record, hangs. When it answers again, continue the run; if it needs longer, raise data.timeout."
    )


def _reported(
    chunks: Iterable[tuple[np.ndarray, Decoded]], count: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[np.ndarray, Decoded]]:
    """Pass chunks on and report each to `progress`."""
    done = 0
    for rows, made in chunks:
        yield rows, made
        done += len(rows)
        if progress is not None:
            progress(done, count)


def _as_is(made: Any) -> Any:
    return made


def _start_worker(whereabouts: Whereabouts | None, worker: int) -> None:
    """Let a worker note what it reads, keep it to one thread, and leave signals to the training.

    They reach every process of a group at once. A worker that died of them would break the step after which the
    training means to write its checkpoint; so a worker ends when the training process signals it, not otherwise.
    """
    if whereabouts is not None:
        whereabouts.kept_by(worker)
    torch.set_num_threads(1)
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_exit_with, args=(parent_process(), os.getppid()), daemon=True).start()


def _exit_with(training: Any, starter: int) -> None:
    """End this worker when the training process says so, or is no more.

    torch looks for that between two pieces only, and then waits until what is made is handed over: for ever, where
    it is more than a pipe holds, since the workers themselves keep the pipe open.

    Args:
        training: the process whose worker this is.
        starter: the process id that this worker was started by: the training's, or that of a fork server.
    """
    wait = partial(signal.sigtimedwait, {signal.SIGTERM}) if hasattr(signal, "sigtimedwait") else time.sleep
    while os.getppid() == starter and training.is_alive():
        said = wait(LOOK)
        if said is not None and said.si_pid == training.pid:
            break
    os._exit(0)
