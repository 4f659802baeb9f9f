"""The two sides of a contrast, and which of their pairs are left out."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Side(NamedTuple):
    """Rows of one side, and what says which pairs are left out of their sums.

    Args:
        rows: float (N, D), unit rows.
        ids: int64 (N,): a pair of equal ids is left out of the sums of both sides. Two sides have ids, or none.
        guide: float (N, G), unit rows that a guide made of the same records. Two sides have guides, or none.
        limit: float (N,): a pair whose guide cosine is above a row's limit is left out of that row's sums.
    """

    rows: Tensor
    ids: Tensor | None = None
    guide: Tensor | None = None
    limit: Tensor | None = None

    def cut(self, part: slice) -> Side:
        """Return some of the rows."""
        return Side(*(None if t is None else t[part] for t in self))


def left_out(x: Side, y: Side) -> tuple[Tensor | None, Tensor | None]:
    """Return which pairs (N, M) are left out of the sums of `x` and of `y`: bool, or None for not one."""
    same_NM = None
    if x.ids is not None and y.ids is not None and _meet(x.ids, y.ids):
        same_NM = x.ids[:, None] == y.ids
    if x.guide is None or y.guide is None or x.limit is None or y.limit is None:
        return same_NM, same_NM
    alike_NM = x.guide @ y.guide.T
    masks = alike_NM > x.limit[:, None], alike_NM > y.limit
    return masks if same_NM is None else (masks[0] | same_NM, masks[1] | same_NM)


def _meet(a_N: Tensor, b_M: Tensor) -> bool:
    """Return whether an id may be on both sides; on a GPU it is not worth the wait to ask."""
    if a_N.is_cuda:
        return True
    return bool(a_N.numel() and b_M.numel() and a_N.min() <= b_M.max() and b_M.min() <= a_N.max())
