"""Seeds: a sample's from (seed, epoch, id), views' from (seed, step), what else a rank draws from (seed, step, rank).

No stream of random numbers runs through a training, so there is none to save: whatever is drawn depends only on
these names, never on workers, arrival order or how often a run was resumed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

CHUNK = 2**16
"""Texts that are hashed at a time."""


def seed_of(*names: object) -> int:
    """Return 63 bits that depend on every one of `names`, the same on every machine and Python."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def uniform_of(*names: object) -> float:
    """Return a number in [0, 1) that depends on every one of `names`."""
    return seed_of(*names) / 2.0**63


def mix_bits(x_N: np.ndarray) -> np.ndarray:
    """Return 64 bits that depend on all bits of each number, uint64 (N,): the finalizer of SplitMix64.

    Steele et al. 2014, figure 16. A bijection.

    Args:
        x_N: uint64.
    """
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))


def uniforms_of(*names: object, texts: Any) -> np.ndarray:
    """Return `uniform_of(*names, text)` for each of N texts, float64 (N,): about a second for a million.

    Args:
        names: what all of them depend on.
        texts: an Arrow array of strings (N,), in one chunk or several.
    """
    import pyarrow as pa

    before = "".join(f"{name}\x1f" for name in names).encode()
    bits_N = np.empty(len(texts), np.uint64)
    for start in range(0, len(texts), CHUNK):  # few of them are Python objects at a time
        some = texts[start : start + CHUNK].cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        digests = b"".join([blake2b(before + text, digest_size=8).digest() for text in some])
        bits_N[start : start + len(some)] = np.frombuffer(digests, ">u8")
    return (bits_N >> np.uint64(1)) / 2.0**63


def generator(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on `device`, seeded from `names`."""
    return torch.Generator(device=device).manual_seed(seed_of(*names))


def host_generator(rng: torch.Generator | None) -> torch.Generator | None:
    """Return a CPU generator seeded from the state of `rng`, and advance `rng`, without waiting for its device.

    For draws that the host must know, such as those that decide shapes. One on the CPU is returned as it is, as is
    None, the global generator, from which compiled functions draw: none can be passed to them.

    Args:
        rng: a generator on any device, or None.
    """
    if rng is None or rng.device.type == "cpu":
        return rng
    state = rng.get_state().numpy().tobytes()  # on the host for every device
    torch.rand(1, generator=rng, device=rng.device)
    seed = int.from_bytes(blake2b(state, digest_size=8).digest(), "big") >> 1
    return torch.Generator().manual_seed(seed)


class RowStreams:
    """A stream of random numbers for each row of a batch, of which each takes as many as it needs.

    For views of rows of any size, such as graphs: what is drawn for the nodes of a graph depends on no other graph, nor
    on how many there are. Each stream is SplitMix64 (Steele et al. 2014), on the host.

    Args:
        rows: B, number of rows.
        rng: seeds the streams; on the CPU.
    """

    def __init__(self, rows: int, rng: torch.Generator | None) -> None:
        self._seeds_B = torch.randint(2**62, (rows,), generator=rng).numpy().astype(np.uint64)
        self._taken_B = np.zeros(rows, np.uint64)

    def rand(self, row_N: torch.Tensor) -> torch.Tensor:
        """Return the next number of a row's stream for each entry, float64 (N,) from 0 to below 1.

        Args:
            row_N: int64, the row of each entry, ascending; a row may have any number of them.
        """
        row = row_N.numpy()
        counts_B = np.bincount(row, minlength=len(self._seeds_B)).astype(np.uint64)
        before_B = np.cumsum(counts_B) - counts_B
        number_N = self._taken_B[row] + np.arange(1, len(row) + 1, dtype=np.uint64) - before_B[row]
        self._taken_B += counts_B
        bits_N = mix_bits(self._seeds_B[row] + number_N * np.uint64(0x9E3779B97F4A7C15))
        return torch.from_numpy((bits_N >> np.uint64(11)) * 2.0**-53)

    def each(self) -> torch.Tensor:
        """Return the next number of each row, float64 (B,)."""
        return self.rand(torch.arange(len(self._seeds_B)))

    def select(self, rows_M: torch.Tensor) -> RowStreams:
        """Return the streams of some rows, int64 (M,), to go on with in place of these."""
        chosen = RowStreams.__new__(RowStreams)
        chosen._seeds_B, chosen._taken_B = self._seeds_B[rows_M.numpy()], self._taken_B[rows_M.numpy()]
        return chosen


@contextmanager
def drawing_from(rng: torch.Generator) -> Iterator[None]:
    """Let the global generators draw what `rng` decides, for code that knows no other; they continue afterwards."""
    seed = int(torch.randint(2**62, (), generator=host_generator(rng)))
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([rng.device] if rng.device.type == "cuda" else []):
        seed_globals("drawing from", seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def seed_globals(*names: object) -> None:
    """Seed the global generators of torch (every device), numpy and Python from `names`.

    Dropout and initial weights draw from these. The trainer calls it before each step with (seed, step, rank).
    """
    seed = seed_of(*names)
    torch.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
