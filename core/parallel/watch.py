"""Ranks watch each other: one that is killed, or hangs, ends the others with a sentence that says which.

Each rank has a thread that gives a sign of life in the store through which ranks met, and looks at those of the others.
Looks are counted, not seconds: a rank that was stopped itself, or a clock that was set, blames nobody.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import torch.distributed as dist

from sensorium.parallel import collectives

SIGN = 1.0
"""Seconds between signs of life."""
ANSWER = 10.0
"""Seconds in which the store answers."""
MISSED = 5
"""Signs that a rank may miss, once its connection is closed, before it is said to be lost."""
WORDS_OF_LOSS = ("connection closed", "connection reset", "broken pipe", "timed out", "timeout", "gloo", "nccl")
"""Of errors by which process groups tell that a rank is gone."""
LEFT = "left"
"""What a rank says that ends its watch in peace."""
VERDICT = -1
"""In place of a rank: of whom all say that it was lost."""
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a rank runs.

    Args:
        host: its name.
        process: its id.
    """

    host: str
    process: int

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class Watch:
    """The watch that one rank keeps.

    Args:
        timeout: seconds after which a rank that gives no sign, or does not begin the step of the others, hangs.
        on_loss: called in the thread of the watch with the sentence, when ranks hang, after those of this host are
            killed; it ends the process.
    """

    def __init__(self, timeout: float, on_loss: Callable[[str], NoReturn]) -> None:
        self.timeout, self._on_loss = timeout, on_loss
        self._rank, self._size = collectives.rank(), collectives.world_size()
        self._signing, self._looking = _connection(), _connection()
        self._asking: threading.Thread | None = None
        self._turn = threading.Lock()
        self._explains = False
        self._signs, self._gives_sign = 0, True
        begin_step(0)
        self._give_sign()
        self.places: Sequence[Place] = collectives.all_gather_objects(Place(platform.node(), os.getpid()))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="watch of ranks")
        self._thread.start()

    def leave(self, sentence: str = LEFT) -> None:
        """End the watch, and tell the others that this rank leaves, or why it fails."""
        if not self._ended.is_set():
            self._ended.set()
            with suppress(RuntimeError):  # the store is gone with its rank
                self._signing.set(f"end/{self._rank}", sentence)

    def explain(self, error: BaseException) -> str | None:
        """Return the sentence about the rank whose loss an error tells of; None if it does not, or all are there."""
        if not _tells_of_loss(error):
            return None
        self._explains = True
        before = self._look()
        for _ in range(MISSED):
            time.sleep(SIGN)
            ends = self._ends()
            if VERDICT in ends:  # another rank knows already
                return ends[VERDICT]
            for rank in range(self._size):
                if ends.get(rank, LEFT) != LEFT:
                    return f"{self._named(rank)} stopped: {ends[rank]}"
        now = self._look()
        if before is None or now is None:  # the store is in the process of rank 0, unless a launcher has it
            return f"{self._named(0)}, through which the others meet, was lost: it was killed, or its node failed."
        silent = [rank for rank in range(self._size) if now[rank][0] == before[rank][0] and rank not in ends]
        if not silent:
            return None
        sentence = self._verdict(f"{self._named(*silent)} was lost: it was killed, or its node failed.")
        self._stay_for_others(silent)
        return sentence

    def _keep(self) -> None:
        """Give signs, and look at those of the others, until the watch ends; the thread."""
        every = max(SIGN, self.timeout / 20)
        silent, late, last, since = [0.0] * self._size, [0.0] * self._size, None, 0.0
        while not self._ended.wait(SIGN):
            if self._gives_sign:
                self._give_sign()
            if (since := since + SIGN) < every:
                continue
            found = self._look()
            ahead = max((step for _, step in found), default=0) if found else 0
            for rank in range(self._size):
                gives_sign = found is not None and (last is None or found[rank][0] != last[rank][0])
                in_step = found is not None and found[rank][1] == ahead
                silent[rank] = 0.0 if gives_sign or (found is None and rank) else silent[rank] + since
                late[rank] = 0.0 if in_step or not gives_sign else late[rank] + since
            last, since = found or last, 0.0
            self._judge([r for r, s in enumerate(silent) if s >= self.timeout], "has given no sign of life")
            self._judge([r for r, s in enumerate(late) if s >= self.timeout], f"has not begun step {ahead}")

    def _judge(self, ranks: Sequence[int], what: str) -> None:
        """End the process if ranks hang, and have not left."""
        left = self._ends() if ranks and not self._explains else {}
        hung = [rank for rank in ranks if rank not in left and rank != self._rank]
        if not hung or self._ended.is_set() or self._explains:
            return
        sentence = f"{self._named(*hung)} {what} for {self.timeout:g} s (train.timeout): it hangs, and is ended."
        self._verdict(sentence)
        for rank in hung:
            if self.places[rank].host == self.places[self._rank].host:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(self.places[rank].process, signal.SIGKILL)
        self._stay_for_others(hung)
        self._on_loss(sentence)

    def _verdict(self, sentence: str) -> str:
        """Tell all ranks which of them was lost; returns the sentence."""
        with suppress(RuntimeError):
            self._signing.set(f"end/{VERDICT}", sentence)
        return sentence

    def _stay_for_others(self, lost: Sequence[int]) -> None:
        """Let the others read who was lost: the store may be in the process of rank 0, which they would blame."""
        others = set(range(1, self._size)).difference(lost)
        for _ in range(MISSED if self._rank == 0 else 0):
            if others <= self._ends().keys():
                return
            time.sleep(SIGN)

    def _give_sign(self) -> None:
        self._signs += 1
        try:
            self._signing.set(f"sign/{self._rank}", f"{self._signs} {_step}")
        except RuntimeError:  # the store is gone with its rank, for ever
            self._gives_sign = False

    def _look(self) -> list[tuple[int, int]] | None:
        """Return how many signs each rank has given, and the step it is in; None if the store does not answer."""
        found = self._ask(lambda: self._looking.multi_get([f"sign/{rank}" for rank in range(self._size)]))
        if found is None:
            return None
        signs = (sign.decode().split() for sign in found)
        return [(int(count), int(step)) for count, step in signs]

    def _ends(self) -> dict[int, str]:
        """Return why ranks ended their watch, and the verdict on a lost one."""

        def read() -> dict[int, str]:
            ended = [who for who in range(VERDICT, self._size) if self._looking.check([f"end/{who}"])]
            return {who: self._looking.get(f"end/{who}").decode() for who in ended}

        return self._ask(read) or {}

    def _ask(self, read: Callable[[], T]) -> T | None:
        """Return what is read from the store; None if it does not answer: its process may be stopped, or gone."""
        found: list[T] = []

        def ask() -> None:
            with suppress(RuntimeError):
                found.append(read())

        with self._turn:
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=ask, daemon=True, name="look at ranks")
                self._asking.start()
                self._asking.join(ANSWER)
        return found[0] if found else None

    def _named(self, *ranks: int) -> str:
        return " and ".join(f"Rank {rank} ({self.places[rank]})" for rank in ranks)


def _connection() -> dist.Store:
    """Return a connection of its own to the store through which ranks met: one that waits for an answer is blocked."""
    return dist.PrefixStore("sensorium/watch", dist.distributed_c10d._get_default_store().clone())


_step = 0
"""The step that this rank has begun."""


def begin_step(step: int) -> None:
    """Note that this rank has the records of a step, so that the others see whether it is behind them."""
    global _step
    _step = step


def _tells_of_loss(error: BaseException | None) -> bool:
    while error is not None:
        said = str(error).lower()
        if isinstance(error, RuntimeError) and any(words in said for words in WORDS_OF_LOSS):
            return True
        error = error.__cause__
    return False
