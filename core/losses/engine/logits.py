"""The two sides of a similarity matrix, the positive logits, and which pairs are excluded from the sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.losses.unit_vectors import cosines, row_chunks


class Embeddings(NamedTuple):
    """Embeddings of one side, and what excludes some of their pairs from the sums.

    Args:
        rows: float (N, D), any norm; the engine normalizes them.
        ids: int64 (N,): a pair of equal ids is excluded from the sums of both sides.
        guide: float (N, G), unit rows of a guide model for the same records. Two sides have guides, or none.
        limit: float (N,): a pair whose guide cosine is above a row's limit is excluded from that row's sums.
    """

    rows: Tensor
    ids: Tensor
    guide: Tensor | None = None
    limit: Tensor | None = None

    def cut(self, part: slice) -> Embeddings:
        """Return a slice of the rows."""
        return Embeddings(*(None if t is None else t[part] for t in self))  # type: ignore[arg-type]


class PairwiseSums(NamedTuple):
    """The sums over the pairs of two sides.

    Args:
        rows: float (N, K), the sums of the rows of `x`.
        columns: float (M, K), those of the rows of `y`; (M, 0) when not asked for.
        positive: float (N,), the logit of each row of `x` and its positive; (0,) when not asked for.
    """

    rows: Tensor
    columns: Tensor
    positive: Tensor


def map_rows(x: Embeddings, y: Embeddings, function: Callable[[Tensor], Tensor]) -> tuple[Embeddings, Embeddings]:
    """Return both sides with `function` of their rows; a side contrasted with itself is computed once."""
    new_x = x._replace(rows=function(x.rows))
    return new_x, new_x if x is y else y._replace(rows=function(y.rows))


def positive_logits(
    x: Embeddings, y: Embeddings, positive_N: Tensor | None, scale: Tensor, bias: Tensor | None
) -> Tensor:
    """Return (N,), the logit of each unit row of `x` and the row of `y` at `positive_N`; (0,) when that is None."""
    if positive_N is None:
        return x.rows.new_zeros(0)
    chunks = row_chunks(x.rows, positive_N)
    logits_N = scale * torch.cat([cosines(x_RD, y.rows[index_R]) for x_RD, index_R in chunks])
    return logits_N if bias is None else logits_N + bias


def excluded_pairs(x: Embeddings, y: Embeddings, ids_may_match: bool = True) -> tuple[Tensor | None, Tensor | None]:
    """Return which pairs (N, M) are excluded from the sums of `x` and of `y`: bool, or None when no pair is.

    Args:
        x: some rows of one side.
        y: some rows of the other.
        ids_may_match: False when it is known that no id is on both sides.
    """
    same_NM = x.ids[:, None] == y.ids if ids_may_match else None
    if x.guide is None or y.guide is None or x.limit is None or y.limit is None:
        return same_NM, same_NM
    guide_NM = x.guide @ y.guide.T
    masks = guide_NM > x.limit[:, None], guide_NM > y.limit
    return masks if same_NM is None else (masks[0] | same_NM, masks[1] | same_NM)


def id_ranges(ids_N: Tensor, edge: int) -> list[tuple[int, int]]:
    """Return the lowest and the highest id of every chunk of `edge` rows, in one host synchronization."""
    chunks = ids_N.split(edge) if len(ids_N) else ()
    ends = [torch.stack([chunk.min(), chunk.max()]) for chunk in chunks]
    return [(low, high) for low, high in torch.stack(ends).tolist()] if ends else []


def ranges_overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Return whether an id may be in both of two ranges."""
    return a[0] <= b[1] and b[0] <= a[1]
