from itertools import pairwise

import pytest
import torch

from sensorium.parallel import row_draws
from sensorium.parallel.row_draws import RowDraws, Rows

TOTAL = 150


def drawn(n):
    """Return what torch can draw for n rows, and something that is drawn once."""
    g = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    p = torch.full((n, 4), 0.3)
    return {
        "rand": torch.rand(n, generator=g),
        "float64": torch.rand(n, 5, dtype=torch.float64, generator=g),
        "randn": torch.randn(n, 3, generator=g),
        "one": torch.rand(5, generator=g),
        "scalar": torch.rand((), generator=g),
        "second axis": torch.rand(2, n, 1, generator=g),
        "copies": torch.rand(3 * n, 2, generator=g),
        "randint": torch.randint(9, (n, 2), generator=g),
        "randint from": torch.randint(3, 9, (n,), generator=g),
        "normal": torch.normal(0.0, 1.0, (n, 3), generator=g),
        "normal of tensors": torch.normal(torch.zeros(n), torch.ones(n), generator=g),
        "uniform_": torch.empty(n, 7).uniform_(generator=g),
        "exponential_": torch.empty(n, 3).exponential_(generator=g),
        "bernoulli": torch.bernoulli(p, generator=g),
        "bernoulli_": torch.empty(n, 2).bernoulli_(0.5, generator=g),
        "multinomial": torch.multinomial(p, 2, generator=g),
        "global": torch.rand_like(p),
        "global integers": torch.randint_like(p, 9),
        "gumbel": torch.nn.functional.gumbel_softmax(torch.zeros(n, 4)),
        "large": torch.randn(n, 50, generator=g),
        "last": torch.rand(n, generator=g),
    }


def rows_of(name, x, first, stop):
    if name in ("one", "scalar"):
        return x
    if name == "second axis":
        return x[:, first:stop]
    return x.view(3, TOTAL, 2)[:, first:stop].flatten(0, 1) if name == "copies" else x[first:stop]


@pytest.mark.parametrize("piece", [row_draws.PIECE, 2000])
@pytest.mark.parametrize("bounds", [(0, 150), (0, 41, 150), (0, 37, 59, 150)])
def test_a_part_draws_what_the_whole_batch_draws_for_its_rows(bounds, piece, monkeypatch):
    monkeypatch.setattr(row_draws, "PIECE", piece)
    whole = drawn(TOTAL)
    for first, stop in pairwise(bounds):
        with RowDraws(Rows(first, stop - first, TOTAL)):
            part = drawn(stop - first)
        for name, x in part.items():
            assert torch.equal(x, rows_of(name, whole[name], first, stop)), name


def test_a_few_rows_that_are_shown_repeatedly_draw_the_same():
    whole = drawn(TOTAL)["rand"]
    with RowDraws(Rows(100, 3, TOTAL), shown=17):
        part = drawn(17)
    assert torch.equal(part["rand"][:3], whole[100:103])
    assert torch.equal(part["rand"][3:6], whole[100:103])
    assert torch.equal(part["last"][:3], drawn(TOTAL)["last"][100:103])


def test_a_permutation_of_rows_is_one_of_the_part():
    def order(n):
        return torch.randperm(n, generator=torch.Generator().manual_seed(3))

    with RowDraws(Rows(40, 30, 100)):
        part = order(30)
    assert sorted(part.tolist()) == list(range(30))
    assert part.tolist() == order(100)[40:70].argsort().argsort().tolist()


def test_a_batch_that_is_not_cut_draws_as_ever():
    with RowDraws(Rows(0, 20, 20)):
        part = drawn(20)
    assert all(torch.equal(x, part[name]) for name, x in drawn(20).items())
