"""Updates of some rows of a batch, by either rule."""

import pytest
import torch

from sensorium.modalities.image.views.row_updates import computes_all_rows, update_rows


@pytest.mark.parametrize("rows", [[], [2], [1, 2], [0, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_the_chosen_rows_change_by_their_own_parameters(rows, compiled, in_place):
    pixels, factors = torch.rand(4, 2, 3, 3), torch.arange(1.0, 5.0)
    chosen = torch.zeros(4, dtype=torch.bool)
    chosen[rows] = True
    expected = pixels.clone()
    expected[rows] *= factors[rows][:, None, None, None]

    def update(x, chosen):
        times = torch.Tensor.mul_ if in_place else torch.mul
        return update_rows(x, chosen, lambda part, some: times(part, factors[some][:, None, None, None]))

    update = torch.compile(update, fullgraph=True, backend="eager") if compiled else update
    assert torch.equal(update(pixels, chosen), expected)


def test_a_cpu_computes_the_chosen_rows_and_an_accelerator_all():
    def count(x, chosen):
        seen = []
        update_rows(x, chosen, lambda part, rows: (seen.append(len(part)), part)[1])
        return seen

    chosen = torch.tensor([True, False, False])
    assert not computes_all_rows(torch.rand(3, 1, 1, 1))
    assert count(torch.rand(3, 1, 1, 1), chosen) == [1]
    assert count(torch.rand(3, 1, 1, 1), ~chosen & chosen) == []
    assert computes_all_rows(torch.empty(3, 1, 1, 1, device="meta"))
    assert count(torch.empty(3, 1, 1, 1, device="meta"), chosen.to("meta")) == [3]
