"""Targets are standardized by the train part alone: outliers, constants and undefined values do no harm."""

import copy

import pytest
import torch

from sensorium import SensoriumError, Standardization


def rows(n=400, seed=0):
    """Four dimensions of different places and scales."""
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return x * torch.tensor([1.0, 1e-4, 1e4, 3.0]) + torch.tensor([0.0, 5e-3, -1e5, 2.0])


def fitted(x, clip=6.0, parts=3):
    made = Standardization(x.shape[1], clip)
    made.fit(x.chunk(parts))
    return made


def test_values_have_mean_0_and_standard_deviation_1_in_every_dimension():
    z, defined = fitted(rows())(rows())
    assert defined.all()
    assert torch.allclose(z.mean(0), torch.zeros(4), atol=0.01)
    assert torch.allclose(z.std(0), torch.ones(4), atol=0.02)


def test_statistics_are_those_of_winsorized_values():
    x = rows(2500)
    made = fitted(x)
    sorted_NP = x.double().sort(0).values
    winsorized = x.double().clamp(sorted_NP[3], sorted_NP[-4])  # a thousandth of 2,500, rounded up
    assert torch.allclose(made.mean.double(), winsorized.mean(0), rtol=1e-5)
    assert torch.allclose(1 / made.scale.double(), winsorized.std(0, correction=0), rtol=1e-5)


def test_an_outlier_neither_sets_the_scale_nor_passes_the_clamp():
    x = rows()
    x[7, 0] = 1e30
    made = fitted(x)
    assert torch.allclose(made.scale[0], fitted(rows()).scale[0], rtol=0.05)
    z, _ = made(x)
    assert z[7, 0] == 6
    assert z.abs().max() == 6


def test_undefined_values_are_left_out_and_change_no_other():
    x = rows()
    x[3, 1], x[4, 2], x[5, 2] = torch.nan, torch.inf, -torch.inf
    made = fitted(x)
    z, defined = made(x)
    assert z.isfinite().all()
    assert (~defined).nonzero().tolist() == [[3, 1], [4, 2], [5, 2]]
    assert torch.equal(made.scale[[0, 3]], fitted(rows()).scale[[0, 3]])
    assert torch.allclose(made.mean[1], fitted(rows()[torch.arange(400) != 3]).mean[1])


@pytest.mark.parametrize("constant", [0.0, 7.0, 1e6, torch.nan])
def test_a_constant_or_undefined_dimension_is_dropped(constant):
    x = rows()
    x[:, 2] = constant
    x[9, 3] = torch.nan
    made = fitted(x)
    assert made.dropped == 1
    z, defined = made(rows(seed=1))
    assert not defined[:, 2].any()
    assert defined[:, [0, 1, 3]].all()
    assert z[:, 2].eq(0).all()


def test_what_is_dropped_is_said(caplog):
    caplog.set_level("INFO", "sensorium")
    x = rows()
    fitted(x)
    assert not caplog.messages
    x[:, 1] = 7.0
    fitted(x)
    assert caplog.messages == [
        "3 of 4 targets are learned: the others are constant, or never defined, in 400 rows of the train part"
    ]


def test_a_dimension_that_one_record_alone_has_is_dropped():
    x = rows()
    x[:, 0] = 0
    x[5, 0] = 1
    assert fitted(x).dropped == 1


@pytest.mark.parametrize("count", [1, 2])
def test_few_rows_are_no_error(count):
    z, _ = fitted(rows(count))(rows(8))
    assert z.isfinite().all()


def test_what_is_learned_is_in_the_state_and_asked_for():
    with pytest.raises(SensoriumError, match=r"not learned yet: call learner.fit\(batches\)"):
        Standardization(4)(rows())
    with pytest.raises(SensoriumError, match="at least one record"):
        Standardization(4).fit([])
    made, loaded = fitted(rows()), Standardization(4, 6.0)
    loaded.load_state_dict(made.state_dict())
    assert torch.equal(loaded(rows(seed=2))[0], copy.deepcopy(made)(rows(seed=2))[0])


def test_half_precision_does_not_round_the_statistics():
    made = fitted(rows())
    with torch.autocast("cpu", torch.bfloat16):
        z, _ = made(rows())
    assert torch.equal(z, made(rows())[0])
