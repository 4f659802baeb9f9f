"""Checkpoints: written whole or not at all, read without running code.

A checkpoint holds the learner (teachers and queues included), the optimizer, averaged weights and the number of the
next step. Every other state of a run (data order, learning rate, random draws) is a function of that number. It is one
file, or a folder of which every rank writes a part.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import nn

from sensorium.errors import RunError
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.runs.atomic import move_into_place, not_written, remove, temporary_of, write_json
from sensorium.runs.checkpoint_contents import Checkpoint
from sensorium.runs.file_checkpoint import FileCheckpoint, file_writer
from sensorium.runs.sharded_checkpoint import ShardedCheckpoint, WrittenFile, finish_shards, shards_writer

log = logging.getLogger("sensorium")
_NAME = re.compile(r"step-(\d{9})\.ckpt")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie.
        keep: how many of the last to keep.
        sharded: whether those that are written are folders of which every rank writes a part, or one file of rank 0.
        asynchronous: whether the training goes on while one is written.
    """

    def __init__(self, folder: Path, keep: int, sharded: bool = False, asynchronous: bool = False) -> None:
        self.folder, self.keep, self.sharded, self.asynchronous = folder, keep, sharded, asynchronous
        self._writing: _Writing | None = None

    def begin(
        self,
        step: int,
        learner: nn.Module,
        optimizer: torch.optim.Optimizer,
        extra: dict[str, Any],
        best: float | None = None,
    ) -> None:
        """Begin to write a checkpoint, for `finish` to make it one; collective under distribution.

        Args:
            step: number of steps done.
            learner: what is trained.
            optimizer: its optimizer.
            extra: what the training keeps beside them.
            best: its metric, where it is the best so far: it is never deleted while it is the best.
        """
        assert self._writing is None, "the one before is finished"
        path = self.path(step)
        if collectives.rank() == 0 and path.is_dir():  # which could not be read, or is of another format
            remove(path)
        if not self.sharded:
            write = file_writer(path, step, learner, optimizer, extra, copies=self.asynchronous)
            self._writing = _Writing(step, write, lambda _: None, lambda: None, best)
        else:
            folder = collectives.broadcast(temporary_of(path))
            assert isinstance(folder, Path), "rank 0 names it"
            try:
                write_shards, rest = shards_writer(folder, learner, optimizer, extra)
            except OSError as error:
                raise RunError(not_written(path, error)) from error

            def publish(files: list[list[WrittenFile]]) -> None:
                finish_shards(folder, step, rest, [file for of_rank in files for file in of_rank])
                move_into_place(folder, path)

            self._writing = _Writing(step, write_shards, publish, lambda: remove(folder), best)
        self._writing.start(self.asynchronous)

    @property
    def pending(self) -> int | None:
        """The step whose checkpoint was begun and is not finished; None without one."""
        return None if self._writing is None else self._writing.step

    @property
    def is_writing(self) -> bool:
        """Whether this rank is still writing its part."""
        return self._writing is not None and self._writing.is_alive()

    def finish(self) -> None:
        """Wait until all ranks have written what `begin` began, and make it a checkpoint; collective.

        Raises:
            RunError: on every rank, when one could not write; what was there before is intact.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return
        parts = collectives.all_gather_objects(writing.result())
        errors = [part for part in parts if isinstance(part, Exception)]

        def conclude() -> None:
            try:
                if errors:
                    raise errors[0]
                writing.publish(parts)
            except (OSError, RuntimeError) as error:
                writing.discard()
                raise RunError(not_written(self.path(writing.step), error)) from error
            except BaseException:
                writing.discard()
                raise
            if writing.best is not None:
                self.mark_best(writing.step, writing.best)
            self._prune()

        on_rank_zero(conclude)

    def save(self, step: int, learner: nn.Module, optimizer: torch.optim.Optimizer, extra: dict[str, Any]) -> None:
        """Write the checkpoint of `step`, the number of steps done; collective under distribution."""
        self.begin(step, learner, optimizer, extra)
        self.finish()

    def path(self, step: int) -> Path:
        """Return where the checkpoint of `step` lies."""
        return self.folder / f"step-{step:09d}.ckpt"

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, the latest first."""
        found = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*.ckpt"))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def mark_best(self, step: int, metric: float) -> None:
        """Mark the checkpoint of `step` as the best so far; it is never deleted while it is the best."""
        write_json(self.folder / "best.json", {"step": step, "metric": metric})

    def best(self) -> dict[str, Any] | None:
        """Return the best step and its metric, when one was marked, or is being written."""
        if self._writing is not None and self._writing.best is not None:
            return {"step": self._writing.step, "metric": self._writing.best}
        path = self.folder / "best.json"
        return json.loads(path.read_text()) if path.exists() else None

    def forget_best(self) -> None:
        """Choose the best anew, by another metric."""
        (self.folder / "best.json").unlink(missing_ok=True)

    def latest(self, before: int | None = None, checked: bool = True) -> Checkpoint | None:
        """Return the latest checkpoint that can be read; those that cannot are skipped with a warning.

        Args:
            before: only those of fewer steps.
            checked: whether checksums are compared, for which all of it is read.
        """
        return next(self._readable(before, checked), None)

    def read(self, which: str) -> Checkpoint:
        """Return the checkpoint named "last", "best" or by its step number.

        Raises:
            RunError: when there is none of that name, or it cannot be read.
        """
        best = self.best()
        steps = {str(step): step for step in self.steps()}
        if best is not None:
            steps["best"] = best["step"]
        if which == "last":
            found = self.latest()
        elif which in steps:
            path = self.path(steps[which])
            try:
                found = _opened(path)
            except Exception as error:
                raise RunError(f"{path} cannot be read ({_said(error)}): name another checkpoint.") from error
        else:
            found = None
        if found is None:
            there = ", ".join(steps) or "none, so that its training can only be started anew (--resume auto)"
            raise RunError(f"{self.folder} has no checkpoint '{which}'; it has: {there}.")
        return found

    def _readable(self, before: int | None, checked: bool) -> Iterator[Checkpoint]:
        for step in self.steps():
            if before is not None and step >= before:
                continue
            try:
                yield _opened(self.path(step), checked)
            except Exception as error:
                warn_of_unreadable(self.path(step), _said(error))

    def _prune(self) -> None:
        best = (self.best() or {}).get("step")
        for step in self.steps()[self.keep :]:
            if step != best:
                remove(self.path(step))


class _Writing:
    """The writing of one checkpoint on one rank, in a thread where the training goes on.

    Args:
        step: number of steps done.
        write: writes this rank's part, without a collective operation, and returns what `publish` needs of it.
        publish: makes the parts of all ranks a checkpoint; on rank 0.
        discard: deletes them; on rank 0.
        best: the metric of a checkpoint that is the best so far.
    """

    def __init__(
        self,
        step: int,
        write: Callable[[], Any],
        publish: Callable[[list], None],
        discard: Callable[[], None],
        best: float | None,
    ) -> None:
        self.step, self.publish, self.discard, self.best = step, publish, discard, best
        self._write = write
        self._result: Any = None
        self._thread: Thread | None = None

    def start(self, asynchronous: bool) -> None:
        """Write, in a thread or now."""
        if asynchronous:
            self._thread = Thread(target=self._run, name=f"checkpoint of step {self.step}", daemon=True)
            self._thread.start()
        else:
            self._run()

    def is_alive(self) -> bool:
        """Return whether this rank is still writing."""
        return self._thread is not None and self._thread.is_alive()

    def result(self) -> Any:
        """Wait, and return what was written, or the exception."""
        if self._thread is not None:
            self._thread.join()
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._write()
        except (OSError, RunError) as error:
            self._result = error
        except Exception as error:  # told to all ranks, which not every exception survives
            self._result = RuntimeError(_said(error))


def warn_of_unreadable(path: Path, problem: str) -> None:
    """Warn that a checkpoint cannot be read, and that the one before it is used."""
    log.warning("%s cannot be read (%s): the checkpoint before it is used.", path, problem)


def _opened(path: Path, checked: bool = True) -> Checkpoint:
    """Return the checkpoint at a path.

    Raises:
        Exception: of whatever kind, when it cannot be read.
    """
    found = ShardedCheckpoint(path) if path.is_dir() else FileCheckpoint(path)
    if checked and (damage := found.damage()) is not None:
        raise RunError(damage)
    return found


def _said(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
