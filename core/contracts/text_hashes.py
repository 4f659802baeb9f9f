"""Hashes of many strings at once, by which equal ones are found without a table of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa

Column: TypeAlias = pa.Array | pa.ChunkedArray
TOGETHER = 2**17
"""Strings that are hashed at once: some dozens of megabytes."""
FACTOR = 0x9E3779B97F4A7C15
"""An odd number of 64 bits, that of the golden ratio."""


def text_hashes(texts: Column) -> np.ndarray:
    """Return a hash of each of N strings, uint64 (N,), a null as the empty string: a second for ten million.

    A polynomial in the bytes modulo 2^64: equal strings have equal hashes, others rarely; it is no protection against
    strings that are made to collide.
    """
    found = [np.zeros(0, np.uint64)]
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        found += [_hashes(*piece) for piece in _pieces(chunk)]
    return np.concatenate(found)


def first_duplicate(texts: Column) -> str | None:
    """Return the first of N strings that stands there twice, or None."""
    hash_N = text_hashes(texts)
    order = np.argsort(hash_N, kind="stable")
    sorted_N = hash_N[order]
    is_same = sorted_N[1:] == sorted_N[:-1]
    if not is_same.any():
        return None
    twice = np.zeros(len(hash_N), bool)
    twice[order[1:][is_same]] = twice[order[:-1][is_same]] = True
    rows = np.flatnonzero(twice)  # few, unless many are the same: their strings tell
    encoded = texts.take(pa.array(rows)).dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    counts = np.bincount(encoded.indices.to_numpy(zero_copy_only=False))
    return encoded.dictionary[int((counts > 1).argmax())].as_py() if (counts > 1).any() else None


def _pieces(chunk: pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the bytes of some strings, uint8, and where each begins among them and the last ends, int64 (M + 1,)."""
    chunk = chunk.cast(pa.large_string())
    for start in range(0, len(chunk), TOGETHER):
        some = chunk.slice(start, TOGETHER)
        _, offsets, text = some.buffers()
        edges = np.frombuffer(offsets, np.int64)[some.offset : some.offset + len(some) + 1]
        bytes_ = np.zeros(0, np.uint8) if text is None else np.frombuffer(text, np.uint8)
        yield bytes_[edges[0] : edges[-1]], edges - edges[0]


def _hashes(bytes_: np.ndarray, edges: np.ndarray) -> np.ndarray:
    lengths = np.diff(edges)
    at = np.arange(len(bytes_)) - np.repeat(edges[:-1], lengths)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, FACTOR, np.uint64))
        terms = np.append((bytes_.astype(np.uint64) + np.uint64(1)) * powers[at], np.uint64(0))
        sums = np.where(lengths > 0, np.add.reduceat(terms, edges[:-1]), np.uint64(0))
        return sums ^ (lengths.astype(np.uint64) * np.uint64(FACTOR))
