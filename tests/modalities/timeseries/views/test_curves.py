import torch

from sensorium.modalities.timeseries.views.curves import catmull_rom, random_curves, relative_time
from tests.modalities.timeseries.series import batch_of, rng


def test_curves_go_through_their_knots():
    knots = torch.randn(4, 5, generator=rng(), dtype=torch.float64)
    time = torch.linspace(0, 1, 5, dtype=torch.float64).expand(4, 5)
    torch.testing.assert_close(catmull_rom(knots, time), knots)


def test_a_line_stays_a_line_and_curves_are_continuous():
    time = torch.linspace(0, 1, 101, dtype=torch.float64)[None]
    line = torch.linspace(2, 3, 6, dtype=torch.float64)[None]
    torch.testing.assert_close(catmull_rom(line, time), 2 + time)
    curve = catmull_rom(torch.randn(1, 6, generator=rng(), dtype=torch.float64), time)
    assert curve.diff().abs().max() < 0.2
    assert curve.diff().diff().abs().max() < 0.05  # no kinks at knots, where straight pieces would have .15


def test_curves_span_each_row_and_vary_by_row():
    batch = batch_of([30, 10, 1])
    time = relative_time(batch)
    assert time[:, 0].tolist() == [0, 0, 0]
    assert (time[0, 29], time[1, 9]) == (1, 1)
    curves = random_curves(batch, 0.2, 5, rng())
    assert curves.shape == (3, 30)
    assert not torch.allclose(curves[0], curves[1])
    assert torch.equal(random_curves(batch, 0.0, 5, rng()), torch.ones(3, 30))
