"""The streamed form: one tile of the matrix of pairs at a time, blocks of rows passed round the ranks.

Forward keeps the sums, and saves nothing but them and unit rows; backward computes every tile again. Each pair of rows
is met once, on the rank of its `x`, for rows and columns both. What belongs to a block of `y` (its columns' sums, its
gradient) travels with it and comes home after a full turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.losses.engine.kernels import Kernel, Masks, Sums
from sensorium.losses.engine.logits import (
    Embeddings,
    PairSums,
    excluded_pairs,
    id_ranges,
    positive_logits,
    ranges_overlap,
)
from sensorium.losses.engine.ring import Ring
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_backward_, normalize_with_inverse, row_chunks

CPU_TILE, GPU_TILE = 512, 4096
"""Rows and columns of a tile. On a processor the tile, 1 MB in fp32, stays in the second-level cache."""
PARTS = len(Embeddings._fields)


def tile_edge(device: torch.device) -> int:
    """Return how many rows, and how many columns, a tile has on a device."""
    return CPU_TILE if device.type == "cpu" else GPU_TILE


def streamed_sums(
    kernel: Kernel,
    x: Embeddings,
    y: Embeddings,
    sizes: Sequence[int],
    scale: Tensor,
    bias: Tensor | None,
    columns: bool,
    positive_N: Tensor | None = None,
) -> PairSums:
    """Return the sums of the rows of `x`, those of `y` with `columns`, and the logits of own pairs with `positive_N`.

    Rows contrasted with themselves (`x` is `y`) are a symmetric matrix: of this rank's own, half the tiles are made.
    """
    mirrored = x is y and not columns
    options = kernel.bounded(scale), tuple(sizes), columns, mirrored
    return PairSums(*_Streamed.apply(*options, scale, bias, positive_N, *x, *y))


class _Streamed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernel, sizes, columns, mirrored, scale, bias, positive_N, *tensors):
        x, y = Embeddings(*tensors[:PARTS]), Embeddings(*tensors[PARTS:])
        units = [normalize_with_inverse(side.rows) for side in ((x,) if mirrored else (x, y))]
        x, y = x._replace(rows=units[0][0]), y._replace(rows=units[-1][0])
        ring, block = Ring(sizes), y
        rows_NK = _filled(x.rows, kernel.width, kernel.start)
        cols_MK = _filled(y.rows, kernel.width if columns else 0, kernel.start)
        with outside_autocast(x.rows):
            for step in ring.steps:
                coming = ring.start(step, *block) if ring.turns(step) else None
                folded = mirrored and step == 0
                for i, j, logits_RC, out in _tiles(x, block, scale, bias, folded):
                    sums = kernel.tile(logits_RC, out, columns or (folded and i != j))
                    rows_NK[i] = kernel.join(rows_NK[i], sums[0])
                    if sums[1] is not None:
                        both = rows_NK if folded else cols_MK
                        both[j] = kernel.join(both[j], sums[1])
                if columns:
                    cols_MK = ring.hand_on(step, cols_MK)
                block = Embeddings(*coming.wait()) if coming else block
            own = positive_logits(x, y, positive_N, scale, bias)
        ctx.kernel, ctx.sizes, ctx.columns, ctx.mirrored = kernel, sizes, columns, mirrored
        ctx.save_for_backward(scale, bias, positive_N, rows_NK, cols_MK, units[0][1], units[-1][1], *x, *y)
        return rows_NK, cols_MK, own

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rows_NK, grad_cols_MK, grad_own):
        scale, bias, positive_N, rows_NK, cols_MK, over_x_N1, over_y_M1, *tensors = ctx.saved_tensors
        x, y = Embeddings(*tensors[:PARTS]), Embeddings(*tensors[PARTS:])
        ring, block, columns = Ring(ctx.sizes), y, Sums(cols_MK, grad_cols_MK)
        rows = Sums(rows_NK, grad_rows_NK)
        together = ctx.mirrored and len(ctx.sizes) == 1  # one side, met at home: its two gradients are one tensor
        dx_ND = torch.zeros_like(x.rows)
        dy_MD = dx_ND if together else torch.zeros_like(y.rows)
        dbias = None if bias is None else grad_own.sum()
        with outside_autocast(x.rows):
            for step in ring.steps:
                coming = ring.start(step, *block, *columns) if ring.turns(step) else None
                folded = ctx.mirrored and step == 0
                for i, j, logits_RC, out in _tiles(x, block, scale, bias, folded):
                    other = None
                    if ctx.columns or (folded and i != j):
                        other = Sums(*(t[j] for t in (rows if folded else columns)))
                    slope_RC = ctx.kernel.slope(logits_RC, out, Sums(*(t[i] for t in rows)), other)
                    dx_ND[i].addmm_(slope_RC, block.rows[j])
                    dy_MD[j].addmm_(slope_RC.T, x.rows[i])
                    if dbias is not None:
                        dbias += slope_RC.sum()
                dy_MD = ring.hand_on(step, dy_MD)
                if coming:
                    came = coming.wait()
                    block, columns = Embeddings(*came[:PARTS]), Sums(*came[PARTS:])
            if positive_N is not None:
                for dx_RD, x_RD, own_R, grad_R1 in row_chunks(dx_ND, x.rows, positive_N, grad_own[:, None]):
                    dx_RD.addcmul_(y.rows[own_R], grad_R1)
                    dy_MD.index_add_(0, own_R, x_RD * grad_R1)
            dscale = torch.dot(x.rows.flatten(), dx_ND.flatten())  # the sum of slope times cosine
            normalize_backward_(dx_ND.mul_(scale), x.rows, over_x_N1)
            if not together:
                normalize_backward_(dy_MD.mul_(scale), y.rows, over_y_M1)
        none, dy = (None,) * (PARTS - 1), None if together else dy_MD
        return *(None,) * 4, dscale / (1 + together), dbias, None, dx_ND, *none, dy, *none


def _filled(like_ND: Tensor, width: int, value: float) -> Tensor:
    return like_ND.new_full((len(like_ND), width), value)


class Tile(NamedTuple):
    """Some rows against some columns: where they are, their logits (R, C), and which pairs are left out."""

    rows: slice
    columns: slice
    logits: Tensor
    out: Masks


def _tiles(x: Embeddings, y: Embeddings, scale: Tensor, bias: Tensor | None, folded: bool) -> Iterator[Tile]:
    """Iterate over the tiles of a block, those below the diagonal left out when it is folded there.

    All tiles share one buffer: each is done with before the next is made.
    """
    edge = tile_edge(x.rows.device)
    buffer = x.rows.new_empty(min(edge, len(x.rows)) * min(edge, len(y.rows)))
    x_spans, y_spans = id_ranges(x.ids, edge), id_ranges(y.ids, edge)
    for top in range(0, len(x.rows), edge):
        i = slice(top, min(top + edge, len(x.rows)))
        xs = x.cut(i)
        scaled_RD = xs.rows * scale
        for left in range(top if folded else 0, len(y.rows), edge):
            j = slice(left, min(left + edge, len(y.rows)))
            ys = y.cut(j)
            logits_RC = buffer[: len(xs.rows) * len(ys.rows)].view(len(xs.rows), len(ys.rows))
            torch.mm(scaled_RD, ys.rows.T, out=logits_RC)
            if bias is not None:
                logits_RC.add_(bias)
            yield Tile(
                i, j, logits_RC, excluded_pairs(xs, ys, ranges_overlap(x_spans[top // edge], y_spans[left // edge]))
            )
