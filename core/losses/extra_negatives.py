"""Negatives besides those of the batch: rows of a queue, corrupted records, mixtures.

They compose: each kind adds its pairs to the log-sum-exp of an anchor's negatives. They are never anchors themselves.

Letters: N anchors, M extra rows, S mixtures of each anchor, D width, K exponents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.losses.engine import LOG_ZERO, Embeddings, log_sum_exp, softplus, softplus_sums
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives

NO_ID = -1
"""The id of a row that belongs to no record, such as a corrupted one: a negative of every anchor."""


@dataclass(frozen=True)
class NegativeRows:
    """Rows that are negatives of every anchor but those of the same record.

    Args:
        rows_MD: any norm; they are normalized here.
        ids_M: int64, the record of each, in the ids of the loss (`groups_B`); None is `NO_ID` for all.
        shared: True for rows that every rank holds alike, such as a queue; they take no gradient. False for this
            rank's rows: those of every rank are then negatives, and their gradient flows back.
    """

    rows_MD: Tensor
    ids_M: Tensor | None = None
    shared: bool = True

    def log_sum_exp(self, x: Embeddings, scale: Tensor | float, exponents: tuple[float, ...]) -> Tensor:
        """Return (N, K), the log of each anchor's sum of exp(exponent * logit) over these rows."""
        return log_sum_exp(x, *self._embeddings(x), scale, exponents).rows

    def softplus_sums(self, x: Embeddings, scale: Tensor | float, bias: Tensor | float) -> Tensor:
        """Return (N,), the sum of softplus(logit) over these rows."""
        return softplus_sums(x, *self._embeddings(x), scale, bias).rows[:, 0]

    def _embeddings(self, x: Embeddings) -> tuple[Embeddings, list[int]]:
        count, device = len(self.rows_MD), x.rows.device
        ids_M = torch.full((count,), NO_ID, device=device) if self.ids_M is None else self.ids_M
        sizes = [count] if self.shared else collectives.rank_sizes(count)
        rows_MD = self.rows_MD.detach() if self.shared else self.rows_MD
        return Embeddings(rows_MD, ids_M), sizes


@dataclass(frozen=True)
class MixedNegatives:
    """Negatives of one anchor each (see `mix_negatives`).

    Args:
        rows_NSD: unit rows, without gradient.
        valid_NS: bool, False for a mixture with a row of the anchor's record, which is masked out.
    """

    rows_NSD: Tensor
    valid_NS: Tensor

    def log_sum_exp(self, x: Embeddings, scale: Tensor | float, exponents: tuple[float, ...]) -> Tensor:
        """Return (N, K), the log of each anchor's sum of exp(exponent * logit) over its mixtures."""
        logits_NS = scale * self._cosines(x)
        scaled = [(exponent * logits_NS).masked_fill(~self.valid_NS, LOG_ZERO) for exponent in exponents]
        return torch.stack([scaled_NS.logsumexp(1) for scaled_NS in scaled], dim=1)

    def softplus_sums(self, x: Embeddings, scale: Tensor | float, bias: Tensor | float) -> Tensor:
        """Return (N,), the sum of softplus(logit) over each anchor's mixtures."""
        return softplus(scale * self._cosines(x) + bias).masked_fill(~self.valid_NS, 0.0).sum(1)

    def _cosines(self, x: Embeddings) -> Tensor:
        x_ND = normalize_rows(x.rows)
        return (self.rows_NSD.to(x_ND.dtype) @ x_ND[:, :, None]).squeeze(2)


ExtraNegatives = Sequence[NegativeRows | MixedNegatives]
"""The extra negatives of one side's anchors."""


@torch.no_grad()
def mix_negatives(
    x_ND: Tensor, ids_N: Tensor | None, rows: NegativeRows, hardest: int, pairs: int, with_anchor: int
) -> MixedNegatives:
    """MoCHi: mix hard negatives on the sphere (Kalantidis et al. 2020, eq. 4 and 6).

    Draws from torch's global generator.

    Args:
        x_ND: anchors, any norm; they take no gradient from here.
        ids_N: int64, the record of each; None gives every anchor a unique id.
        rows: candidates, such as a queue; an anchor's hard negatives are those of highest cosine.
        hardest: number of hard negatives to draw from.
        pairs: number of mixtures of two hard negatives.
        with_anchor: number of mixtures of the anchor, with a weight below one half, and one hard negative.

    Returns:
        `pairs + with_anchor` mixtures for each anchor.
    """
    with outside_autocast(x_ND):
        x_ND, rows_MD = normalize_rows(x_ND), normalize_rows(rows.rows_MD)
        cosines_NM = x_ND @ rows_MD.to(x_ND.dtype).T
        if rows.ids_M is not None and ids_N is not None:
            cosines_NM.masked_fill_(ids_N[:, None] == rows.ids_M, -torch.inf)
        top = cosines_NM.topk(min(hardest, len(rows_MD)), dim=1)
        shape = (2, len(x_ND), pairs + with_anchor)
        drawn_2NS = torch.randint(top.indices.shape[1], shape, device=x_ND.device)
        first_NSD, second_NSD = (rows_MD[top.indices.gather(1, drawn_NS)] for drawn_NS in drawn_2NS)
        first_NSD[:, pairs:] = x_ND[:, None]
        valid_NS = top.values.gather(1, drawn_2NS[1]) > -torch.inf
        valid_NS[:, :pairs] &= top.values.gather(1, drawn_2NS[0, :, :pairs]) > -torch.inf
        weight_NS1 = torch.rand(len(x_ND), pairs + with_anchor, 1, device=x_ND.device, dtype=x_ND.dtype)
        weight_NS1[:, pairs:] *= 0.5
        return MixedNegatives(normalize_rows(weight_NS1 * first_NSD + (1 - weight_NS1) * second_NSD), valid_NS)
