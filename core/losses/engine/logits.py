"""The two sides of a contrast, and which of their pairs are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.losses.unit_vectors import cosines, row_chunks


class Embeddings(NamedTuple):
    """Rows of one side, and what says which pairs are left out of their sums.

    Args:
        rows: float (N, D), any scale; the engine normalizes them.
        ids: int64 (N,): a pair of equal ids is left out of the sums of both sides.
        guide: float (N, G), unit rows that a guide made of the same records. Two sides have guides, or none.
        limit: float (N,): a pair whose guide cosine is above a row's limit is left out of that row's sums.
    """

    rows: Tensor
    ids: Tensor
    guide: Tensor | None = None
    limit: Tensor | None = None

    def cut(self, part: slice) -> Embeddings:
        """Return some of the rows."""
        return Embeddings(*(None if t is None else t[part] for t in self))  # type: ignore[arg-type]


class PairSums(NamedTuple):
    """What the engine says of the pairs of two sides.

    Args:
        rows: float (N, K), the sums of the rows of `x`.
        columns: float (M, K), those of the rows of `y`; (M, 0) when not asked for.
        own: float (N,), the logit of each row of `x` with the row it belongs to; (0,) when not asked for.
    """

    rows: Tensor
    columns: Tensor
    own: Tensor


def map_rows(x: Embeddings, y: Embeddings, change: Callable[[Tensor], Tensor]) -> tuple[Embeddings, Embeddings]:
    """Return both sides with other rows; a side contrasted with itself is changed once, and stays one side."""
    new_x = x._replace(rows=change(x.rows))
    return new_x, new_x if x is y else y._replace(rows=change(y.rows))


def positive_logits(
    x: Embeddings, y: Embeddings, positive_N: Tensor | None, scale: Tensor, bias: Tensor | None
) -> Tensor:
    """Return (N,), the logit of each unit row of `x` with the one of `y` that `positive_N` says; (0,) without it."""
    if positive_N is None:
        return x.rows.new_zeros(0)
    logits_N = scale * torch.cat([cosines(x_RD, y.rows[own_R]) for x_RD, own_R in row_chunks(x.rows, positive_N)])
    return logits_N if bias is None else logits_N + bias


def excluded_pairs(x: Embeddings, y: Embeddings, ids_may_match: bool = True) -> tuple[Tensor | None, Tensor | None]:
    """Return which pairs (N, M) are left out of the sums of `x` and of `y`: bool, or None for not one.

    Args:
        x: some rows of one side.
        y: some rows of the other.
        may_meet: False when it is known that no id is on both.
    """
    same_NM = x.ids[:, None] == y.ids if ids_may_match else None
    if x.guide is None or y.guide is None or x.limit is None or y.limit is None:
        return same_NM, same_NM
    alike_NM = x.guide @ y.guide.T
    masks = alike_NM > x.limit[:, None], alike_NM > y.limit
    return masks if same_NM is None else (masks[0] | same_NM, masks[1] | same_NM)


def id_ranges(ids_N: Tensor, edge: int) -> list[tuple[int, int]]:
    """Return the lowest and the highest id of every run of `edge` rows, asked of the device but once."""
    chunks = ids_N.split(edge) if len(ids_N) else ()
    ends = [torch.stack([chunk.min(), chunk.max()]) for chunk in chunks]
    return [(low, high) for low, high in torch.stack(ends).tolist()] if ends else []


def ranges_overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Return whether an id may be in both of two spans."""
    return a[0] <= b[1] and b[0] <= a[1]
