"""Negatives besides those of the batch: rows of a queue, wrong forms of records, mixtures.

They compose: each kind adds its pairs to the sums of a loss's rows, in the log domain, and looks for nothing itself.

Letters: N anchors, M further rows, S rows mixed for each anchor, D width, K tilts.
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
"""The id of a row that is of no record, or of a wrong form of one: a negative of every anchor."""


@dataclass(frozen=True)
class NegativeRows:
    """Rows that are negatives of every anchor but those of their own record.

    Args:
        rows_MD: any scale; they are normalized here.
        ids_M: int64, the record of each, in the ids of the loss (`groups_B`); None makes them `NO_ID`'s.
        shared: True for rows that every rank holds alike, such as a queue; they take no gradient. False for this
            rank's own: those of every rank are then negatives, and their gradient flows back.
    """

    rows_MD: Tensor
    ids_M: Tensor | None = None
    shared: bool = True

    def log_sum_exp(self, x: Embeddings, scale: Tensor | float, tilts: tuple[float, ...]) -> Tensor:
        """Return (N, K), the log-sum-exp of each anchor's tilted logits with these rows."""
        return log_sum_exp(x, *self._side(x), scale, tilts).rows

    def softplus_sums(self, x: Embeddings, scale: Tensor | float, bias: Tensor | float) -> Tensor:
        """Return (N,), the sum of softplus(logit) over these rows."""
        return softplus_sums(x, *self._side(x), scale, bias).rows[:, 0]

    def _side(self, x: Embeddings) -> tuple[Embeddings, list[int]]:
        count, device = len(self.rows_MD), x.rows.device
        ids_M = torch.full((count,), NO_ID, device=device) if self.ids_M is None else self.ids_M
        sizes = [count] if self.shared else collectives.rank_sizes(count, device)
        rows_MD = self.rows_MD.detach() if self.shared else self.rows_MD
        return Embeddings(rows_MD, ids_M), sizes


@dataclass(frozen=True)
class MixedNegatives:
    """Negatives made for each anchor alone (see `mix_negatives`).

    Args:
        rows_NSD: unit rows, without gradient.
        valid_NS: bool, False for a mixture that holds something of the anchor's own record; it does not count.
    """

    rows_NSD: Tensor
    valid_NS: Tensor

    def log_sum_exp(self, x: Embeddings, scale: Tensor | float, tilts: tuple[float, ...]) -> Tensor:
        """Return (N, K), the log-sum-exp of each anchor's tilted logits with its own mixtures."""
        logits_NS = scale * self._cosines(x)
        return torch.stack(
            [(tilt * logits_NS).masked_fill(~self.valid_NS, LOG_ZERO).logsumexp(1) for tilt in tilts], dim=1
        )

    def softplus_sums(self, x: Embeddings, scale: Tensor | float, bias: Tensor | float) -> Tensor:
        """Return (N,), the sum of softplus(logit) over each anchor's own mixtures."""
        return softplus(scale * self._cosines(x) + bias).masked_fill(~self.valid_NS, 0.0).sum(1)

    def _cosines(self, x: Embeddings) -> Tensor:
        x_ND = normalize_rows(x.rows)
        return (self.rows_NSD.to(x_ND.dtype) @ x_ND[:, :, None]).squeeze(2)


ExtraNegatives = Sequence[NegativeRows | MixedNegatives]
"""The further negatives of one side's anchors."""


@torch.no_grad()
def mix_negatives(
    x_ND: Tensor, ids_N: Tensor, rows: NegativeRows, hardest: int, pairs: int, own: int
) -> MixedNegatives:
    """Mix hard negatives on the sphere (Kalantidis et al. 2020, eq. 4 and 6); draws from torch's global generator.

    Args:
        x_ND: anchors, any scale; they take no gradient from here.
        ids_N: int64, the record of each.
        rows: what is mixed, such as a queue; of it, for each anchor, the rows of highest cosine.
        hardest: how many of them are drawn from.
        pairs: how many mixtures of two of them are made.
        own: how many are made of the anchor itself, by less than half, and one of them.

    Returns:
        `pairs + own` mixtures for each anchor.
    """
    with outside_autocast(x_ND):
        x_ND, kept_MD = normalize_rows(x_ND), normalize_rows(rows.rows_MD)
        cosines_NM = x_ND @ kept_MD.to(x_ND.dtype).T
        if rows.ids_M is not None:
            cosines_NM.masked_fill_(ids_N[:, None] == rows.ids_M, -torch.inf)
        top = cosines_NM.topk(min(hardest, len(kept_MD)), dim=1)
        shape = (2, len(x_ND), pairs + own)
        drawn_2NS = torch.randint(top.indices.shape[1], shape, device=x_ND.device)
        first_NSD, second_NSD = (kept_MD[top.indices.gather(1, drawn_NS)] for drawn_NS in drawn_2NS)
        first_NSD[:, pairs:] = x_ND[:, None]
        valid_NS = top.values.gather(1, drawn_2NS[1]) > -torch.inf
        valid_NS[:, :pairs] &= top.values.gather(1, drawn_2NS[0, :, :pairs]) > -torch.inf
        share_NS1 = torch.rand(len(x_ND), pairs + own, 1, device=x_ND.device, dtype=x_ND.dtype)
        share_NS1[:, pairs:] *= 0.5
        return MixedNegatives(normalize_rows(share_NS1 * first_NSD + (1 - share_NS1) * second_NSD), valid_NS)
