"""What losses are called with: shapes and numbers that they do not take are named, and none joins by broadcasting."""

import pytest
import torch

from sensorium import collectives, losses
from sensorium.errors import SensoriumError

PAIRS = {
    "clip": (10.0,),
    "nt_xent": (0.1,),
    "info_nce": (0.1,),
    "unicl": (10.0, torch.arange(4)),
    "decoupled_contrastive": (0.1,),
    "log_normalizers": (10.0,),
    "hcl": (0.1,),
    "debiased": (0.1,),
    "hn_nce": (10.0,),
    "siglip": (10.0, -10.0),
    "barlow_twins": (),
    "vicreg": (),
    "negative_cosine": (),
    "whitening_mse": (),
}
"""Losses of pairs of rows, and the arguments behind the two tensors."""


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(1, 8), (3, 8), (4, 1), (8,), (4, 2, 8)])
def test_other_shapes_than_pairs_are_refused(name, shape):
    loss = getattr(losses, name)
    assert loss(torch.randn(4, 8), torch.randn(4, 8), *PAIRS[name]).isfinite().all()
    with pytest.raises(SensoriumError, match=r"compares pairs of rows.*\(4, 8\) and .*hand in two of one shape"):
        loss(torch.randn(4, 8), torch.randn(shape), *PAIRS[name])


def rows():
    return torch.randn(4, 8)


POSITIVE = {
    **{
        name: lambda t, name=name: getattr(losses, name)(rows(), rows(), t, *PAIRS[name][1:])
        for name in PAIRS
        if PAIRS[name] and name != "siglip"  # whose scale of 0 is a loss without features, finite and useful to test
    },
    "supervised_contrastive": lambda t: losses.supervised_contrastive(rows(), torch.arange(4), t),
    "queue_info_nce": lambda t: losses.queue_info_nce(rows(), rows(), (), t),
    "swapped_cross_entropy": lambda t: losses.swapped_cross_entropy([rows(), rows()], [rows()], t),
    "masked_cross_entropy": lambda t: losses.masked_cross_entropy(rows(), rows(), torch.ones(2, 2).bool(), t),
    "centered_softmax": lambda t: losses.centered_softmax(rows(), torch.zeros(8), t),
    "sinkhorn_knopp": lambda t: losses.sinkhorn_knopp(rows(), t),
    "masked_contrastive": lambda t: losses.masked_contrastive(
        torch.randn(2, 3, 4),
        torch.randn(2, 3, 4),
        torch.zeros(2, 3, 1).long(),
        torch.zeros(2, 3, 1).long(),
        torch.ones(2, 3).bool(),
        t,
    ),
}
"""Losses as functions of their temperature, or their scale."""


@pytest.mark.parametrize("name", POSITIVE)
def test_a_temperature_is_above_zero(name):
    for value in (0, -0.5, float("nan")):
        with pytest.raises(
            SensoriumError, match=rf"given (temperature|scale)={value}, and its \w+ is a number above 0"
        ):
            POSITIVE[name](value)
    POSITIVE[name](torch.tensor(0.5))


def test_a_scalar_has_no_rows_to_gather():
    with pytest.raises(SensoriumError, match=r"a scalar has none: hand in `value\[None\]`"):
        collectives.gather(torch.tensor(1.0))
