import torch

from sensorium.modalities.timeseries.views.curves import progress, random_curves, smooth
from tests.modalities.timeseries.series import batch_of, rng


def test_curves_go_through_their_knots():
    knots = torch.randn(4, 5, generator=rng(), dtype=torch.float64)
    places = torch.linspace(0, 1, 5, dtype=torch.float64).expand(4, 5)
    torch.testing.assert_close(smooth(knots, places), knots)


def test_a_line_stays_a_line_and_curves_are_continuous():
    places = torch.linspace(0, 1, 101, dtype=torch.float64)[None]
    line = torch.linspace(2, 3, 6, dtype=torch.float64)[None]
    torch.testing.assert_close(smooth(line, places), 2 + places)
    curve = smooth(torch.randn(1, 6, generator=rng(), dtype=torch.float64), places)
    assert curve.diff().abs().max() < 0.2
    assert curve.diff().diff().abs().max() < 0.05  # no kinks at knots, where straight pieces would have .15


def test_curves_span_each_row_and_vary_by_row():
    batch = batch_of([30, 10, 1])
    along = progress(batch)
    assert along[:, 0].tolist() == [0, 0, 0]
    assert (along[0, 29], along[1, 9]) == (1, 1)
    curves = random_curves(batch, 0.2, 5, rng())
    assert curves.shape == (3, 30)
    assert not torch.allclose(curves[0], curves[1])
    assert torch.equal(random_curves(batch, 0.0, 5, rng()), torch.ones(3, 30))
