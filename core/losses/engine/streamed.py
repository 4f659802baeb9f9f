"""The streamed form: one tile of the similarity matrix at a time, blocks of rows passed round the ranks.

Forward saves sums and unit rows alone; backward computes every tile again. Each pair of rows is computed once, on the
rank of its `x`, for rows and columns both. What belongs to a block of `y` (its columns' sums, its gradient) is passed
on with it and is back on its rank after a full turn.
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
    PairwiseSums,
    excluded_pairs,
    id_ranges,
    positive_logits,
    ranges_overlap,
)
from sensorium.losses.engine.ring import Ring
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_backward_, normalize_with_inverse, row_chunks

CPU_TILE, GPU_TILE = 512, 4096
"""Rows and columns of a tile. On a CPU the tile, 1 MB in fp32, stays in the second-level cache."""
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
) -> PairwiseSums:
    """Return the sums of the rows of `x`, those of `y` with `columns`, and the positive logits.

    The similarity matrix of rows with themselves (`x` is `y`) is symmetric: half of this rank's tiles are computed.
    """
    symmetric = x is y and not columns
    options = kernel.bounded(scale), tuple(sizes), columns, symmetric
    return PairwiseSums(*_Streamed.apply(*options, scale, bias, positive_N, *x, *y))


class _Streamed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernel, sizes, columns, symmetric, scale, bias, positive_N, *tensors):
        x, y = Embeddings(*tensors[:PARTS]), Embeddings(*tensors[PARTS:])
        units = [normalize_with_inverse(side.rows) for side in ((x,) if symmetric else (x, y))]
        x, y = x._replace(rows=units[0][0]), y._replace(rows=units[-1][0])
        ring, block = Ring(sizes), y
        rows_NK = _filled(x.rows, kernel.width, kernel.start)
        cols_MK = _filled(y.rows, kernel.width if columns else 0, kernel.start)
        with outside_autocast(x.rows):
            for step in ring.steps:
                incoming = ring.start(step, *block) if ring.has_next(step) else None
                half = symmetric and step == 0
                for i, j, logits_RC, excluded in _tiles(x, block, scale, bias, half):
                    sums = kernel.tile(logits_RC, excluded, columns or (half and i != j))
                    rows_NK[i] = kernel.combine(rows_NK[i], sums[0])
                    if sums[1] is not None:
                        both = rows_NK if half else cols_MK
                        both[j] = kernel.combine(both[j], sums[1])
                if columns:
                    cols_MK = ring.pass_on(step, cols_MK)
                block = Embeddings(*incoming.wait()) if incoming else block
            positive = positive_logits(x, y, positive_N, scale, bias)
        ctx.kernel, ctx.sizes, ctx.columns, ctx.symmetric = kernel, sizes, columns, symmetric
        ctx.save_for_backward(scale, bias, positive_N, rows_NK, cols_MK, units[0][1], units[-1][1], *x, *y)
        return rows_NK, cols_MK, positive

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rows_NK, grad_cols_MK, grad_positive):
        scale, bias, positive_N, rows_NK, cols_MK, inverse_x_N1, inverse_y_M1, *tensors = ctx.saved_tensors
        x, y = Embeddings(*tensors[:PARTS]), Embeddings(*tensors[PARTS:])
        ring, block, columns = Ring(ctx.sizes), y, Sums(cols_MK, grad_cols_MK)
        rows = Sums(rows_NK, grad_rows_NK)
        together = ctx.symmetric and len(ctx.sizes) == 1  # one side on one rank: its two gradients are one tensor
        dx_ND = torch.zeros_like(x.rows)
        dy_MD = dx_ND if together else torch.zeros_like(y.rows)
        dbias = None if bias is None else grad_positive.sum()
        with outside_autocast(x.rows):
            for step in ring.steps:
                incoming = ring.start(step, *block, *columns) if ring.has_next(step) else None
                half = ctx.symmetric and step == 0
                for i, j, logits_RC, excluded in _tiles(x, block, scale, bias, half):
                    other = None
                    if ctx.columns or (half and i != j):
                        other = Sums(*(t[j] for t in (rows if half else columns)))
                    grad_RC = ctx.kernel.logit_grad(logits_RC, excluded, Sums(*(t[i] for t in rows)), other)
                    dx_ND[i].addmm_(grad_RC, block.rows[j])
                    dy_MD[j].addmm_(grad_RC.T, x.rows[i])
                    if dbias is not None:
                        dbias += grad_RC.sum()
                dy_MD = ring.pass_on(step, dy_MD)
                if incoming:
                    received = incoming.wait()
                    block, columns = Embeddings(*received[:PARTS]), Sums(*received[PARTS:])
            if positive_N is not None:
                for dx_RD, x_RD, index_R, grad_R1 in row_chunks(dx_ND, x.rows, positive_N, grad_positive[:, None]):
                    dx_RD.addcmul_(y.rows[index_R], grad_R1)
                    dy_MD.index_add_(0, index_R, x_RD * grad_R1)
            dscale = torch.dot(x.rows.flatten(), dx_ND.flatten())  # the sum of logit gradient times cosine
            normalize_backward_(dx_ND.mul_(scale), x.rows, inverse_x_N1)
            if not together:
                normalize_backward_(dy_MD.mul_(scale), y.rows, inverse_y_M1)
        none, dy = (None,) * (PARTS - 1), None if together else dy_MD
        return *(None,) * 4, dscale / (1 + together), dbias, None, dx_ND, *none, dy, *none


def _filled(like_ND: Tensor, width: int, value: float) -> Tensor:
    return like_ND.new_full((len(like_ND), width), value)


class Tile(NamedTuple):
    """Some rows against some columns: their slices, their logits (R, C), and which pairs are excluded."""

    rows: slice
    columns: slice
    logits: Tensor
    excluded: Masks


def _tiles(x: Embeddings, y: Embeddings, scale: Tensor, bias: Tensor | None, half: bool) -> Iterator[Tile]:
    """Iterate over the tiles of a block, without those below the diagonal when `half` is set.

    All tiles share one buffer: each is used before the next is computed.
    """
    edge = tile_edge(x.rows.device)
    buffer = x.rows.new_empty(min(edge, len(x.rows)) * min(edge, len(y.rows)))
    x_ranges, y_ranges = id_ranges(x.ids, edge), id_ranges(y.ids, edge)
    for top in range(0, len(x.rows), edge):
        i = slice(top, min(top + edge, len(x.rows)))
        xs = x.cut(i)
        scaled_RD = xs.rows * scale
        for left in range(top if half else 0, len(y.rows), edge):
            j = slice(left, min(left + edge, len(y.rows)))
            ys = y.cut(j)
            logits_RC = buffer[: len(xs.rows) * len(ys.rows)].view(len(xs.rows), len(ys.rows))
            torch.mm(scaled_RD, ys.rows.T, out=logits_RC)
            if bias is not None:
                logits_RC.add_(bias)
            ids_may_match = ranges_overlap(x_ranges[top // edge], y_ranges[left // edge])
            yield Tile(i, j, logits_RC, excluded_pairs(xs, ys, ids_may_match))
