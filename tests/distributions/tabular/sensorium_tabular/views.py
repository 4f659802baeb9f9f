"""View generators of rows: corrupted, masked and plain.

Letters: B rows, N numeric columns, M categorical ones, T of both, S order statistics of a column.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range, to_device
from sensorium_tabular.columns import HIDDEN, PRESENT
from sensorium_tabular.modality import Rows, Tabular, cell_classes


def drawn(modality: Tabular, batch: Rows, rng: torch.Generator) -> Rows:
    """Return rows whose cells are drawn from the marginal distributions of the train part, each cell for itself."""
    numbers_SN, categories_SM, state_ST = to_device(list(modality.columns.marginals), batch.device)
    index_BT = torch.randint(len(state_ST), batch.state.shape, generator=rng, device=batch.device)
    count = batch.numbers.shape[1]
    return Rows(
        numbers_SN.gather(0, index_BT[:, :count]),
        categories_SM.gather(0, index_BT[:, count:]),
        state_ST.gather(0, index_BT),
    )


def chosen(batch: Rows, rate: float, among_BT: Tensor, rng: torch.Generator) -> Tensor:
    """Return round(rate x allowed cells) of each row, at least one where it has any, at random: bool (B, T)."""
    draw_BT = torch.rand(batch.state.shape, generator=rng, device=batch.device).masked_fill(~among_BT, 2.0)
    among_B1 = among_BT.sum(1, keepdim=True)
    return draw_BT.argsort(1).argsort(1) < (rate * among_B1).round().clamp(min=1).minimum(among_B1)


def mixed(batch: Rows, other: Rows, where_BT: Tensor) -> Rows:
    """Return the rows with the cells of others where a mask is True."""
    count = batch.numbers.shape[1]
    return Rows(
        torch.where(where_BT[:, :count], other.numbers, batch.numbers),
        torch.where(where_BT[:, count:], other.categories, batch.categories),
        torch.where(where_BT, other.state, batch.state),
    )


class Plain(ViewGenerator):
    """One view: the row itself."""

    def __init__(self, modality: Tabular) -> None:
        pass

    def __call__(self, batch: Rows, rng: torch.Generator) -> list[View]:
        """Return the rows themselves."""
        return [View(batch)]


class Scarf(ViewGenerator):
    """SCARF: corrupted views (Bahri et al. 2022, algorithm 1).

    In each row a random set of round(rate x columns) cells is replaced by draws from their columns' marginal
    distributions in the train part, missing cells included.

    Args:
        rate: fraction of the cells that are replaced, in (0, 1); .6 in the paper.
        original: whether the first view is the row itself, as in the paper; else every view is corrupted.
        views: number of views.
    """

    views = 2

    def __init__(self, modality: Tabular, rate: float = 0.6, original: bool = True, views: int = 2) -> None:
        check_range("views 'scarf'", "(0, 1)", rate=rate)
        self.modality, self.rate, self.original, self.views = modality, rate, original, views

    def __call__(self, batch: Rows, rng: torch.Generator) -> list[View]:
        """Return the views."""
        first = [View(batch)] if self.original else []
        return first + [View(self.corrupted(batch, rng)) for _ in range(self.views - len(first))]

    def corrupted(self, batch: Rows, rng: torch.Generator) -> Rows:
        """Return the rows with replaced cells; one cell of each row keeps its value."""
        every_BT = torch.ones_like(batch.state, dtype=torch.bool)
        kept_BT = chosen(batch, 1 / batch.state.shape[1], batch.state == PRESENT, rng)
        replaced_BT = chosen(batch, self.rate, every_BT & ~kept_BT, rng)
        return mixed(batch, drawn(self.modality, batch, rng), replaced_BT)


class Corrupted(ViewGenerator):
    """One view with replaced cells, whose target says which: mask estimation of VIME (Yoon et al. 2020, eq. 4).

    The target "corrupted" is int64 (B, T), for encoders with a token for each column: 1 in cells that were replaced by
    draws from the marginal distribution of their column, 0 in others.

    Args:
        rate: fraction of the cells that are replaced, in (0, 1); .3 in the paper.
    """

    target, classes, per_token = "corrupted", 2, True

    def __init__(self, modality: Tabular, rate: float = 0.3) -> None:
        self.scarf = Scarf(modality, rate)

    def __call__(self, batch: Rows, rng: torch.Generator) -> list[View]:
        """Return the view; a cell whose draw is what it was counts as not replaced."""
        view = self.scarf.corrupted(batch, rng)
        count = batch.numbers.shape[1]
        changed_BT = view.state != batch.state
        changed_BT[:, :count] |= view.numbers != batch.numbers
        changed_BT[:, count:] |= view.categories != batch.categories
        return [View(view, target=changed_BT.long())]


class CellMask(ViewGenerator):
    """One view with hidden cells, whose classes are the target, for masked-token (as BERT, Devlin et al. 2019).

    The target "tokens" is int64 (B, T): the class of hidden cells, and -100, the ignored index, elsewhere. A number is
    the class of its quantile bin. `info["masked"]` is bool (B, T), True for hidden cells. Missing cells are not hidden.

    Args:
        rate: fraction of the present cells that are hidden, in (0, 1).
    """

    target, info = "tokens", ("masked",)

    def __init__(self, modality: Tabular, rate: float = 0.3) -> None:
        check_range("views 'cell-mask'", "(0, 1)", rate=rate)
        self.modality, self.rate = modality, rate

    def __call__(self, batch: Rows, rng: torch.Generator) -> list[View]:
        """Return the view with the classes of its hidden cells."""
        masked_BT = chosen(batch, self.rate, batch.state == PRESENT, rng)
        count = batch.numbers.shape[1]
        view = Rows(
            batch.numbers.masked_fill(masked_BT[:, :count], 0.0),
            batch.categories.masked_fill(masked_BT[:, count:], 0),
            batch.state.masked_fill(masked_BT, HIDDEN),
        )
        columns = self.modality.columns
        classes_BT = cell_classes(batch, *to_device([columns.edges, columns.offsets], batch.device))
        return [View(view, target=classes_BT.masked_fill(~masked_BT, -100), info={"masked": masked_BT})]
