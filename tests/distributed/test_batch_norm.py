"""Batch norm over several ranks is batch norm of one process over the joined rows: outputs, gradients, statistics."""

import pytest
import torch
from torch import nn

from sensorium import collectives
from sensorium.batch_norm import MaskedBatchNorm
from sensorium.modalities.graph.encoders.base import NodeNorm
from sensorium.parallel.batch_norm import synchronize
from tests.distributed.ranks import on_ranks

CUTS = {2: [(0, 6, 12), (0, 9, 12), (0, 12, 12)], 4: [(0, 3, 6, 9, 12), (0, 0, 5, 6, 12)]}
WITHIN = {torch.float64: 1e-12, torch.float32: 1e-5}


class Activated(nn.BatchNorm2d):
    """A norm with a forward of its own, as those of timm."""

    def forward(self, x):
        self.num_batches_tracked.add_(1)
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        ).relu()


KINDS = {
    "1d": lambda: (nn.BatchNorm1d(3), (12, 3)),
    "no-affine": lambda: (nn.BatchNorm1d(3, affine=False), (12, 3)),
    "1d-time": lambda: (nn.BatchNorm1d(3), (12, 3, 5)),
    "2d": lambda: (nn.BatchNorm2d(3), (12, 3, 4, 4)),
    "subclass": lambda: (Activated(3), (12, 3, 4, 4)),
    "node": lambda: (NodeNorm(3), (12, 3)),
    "signal": lambda: (MaskedBatchNorm(3), (12, 3, 2, 5)),
    "padded": lambda: (MaskedBatchNorm(3), (12, 3, 2, 5)),
}


def normed(kind, rows, dtype):
    """Return output, gradients and statistics of a rank's rows, for the loss that weighs every output on its own."""
    norm, shape = KINDS[kind]()
    norm = norm.to(dtype)
    if norm.affine:
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
            norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    synchronize(norm)
    rng = torch.Generator().manual_seed(0)
    x, weights = (torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2))
    x = (3 * x + 7)[rows].requires_grad_()
    extra = ()
    if kind == "padded":  # only some ranks have padding
        steps = torch.arange(12).clamp(min=6) - 6
        extra = ((torch.arange(5) < 5 - (steps[rows, None] % 3)) if len(steps[rows]) and steps[rows].any() else None,)
    y = norm(x, *extra)
    (y * weights[rows]).sum().backward()
    return {
        "y": y.detach(),
        "x": x.grad,
        **{name: collectives.all_reduce_sum(p.grad) for name, p in norm.named_parameters()},
        **{f"{name}-each": value.double() for name, value in norm.named_buffers()},
    }


def on_rank(rank, world):
    return {
        (kind, cuts, dtype): normed(kind, slice(cuts[rank], cuts[rank + 1]), dtype)
        for kind in KINDS
        for cuts in CUTS[world]
        for dtype in WITHIN
    }


@pytest.mark.parametrize("world", [2, 4])
def test_several_ranks_normalize_as_one_process(world, tmp_path):
    found = on_ranks(world, on_rank, tmp_path)
    for (kind, cuts, dtype), first in found[0].items():
        for name, expected in normed(kind, slice(None), dtype).items():
            of_ranks = [of_rank[kind, cuts, dtype][name] for of_rank in found]
            got = torch.cat(of_ranks) if name in ("y", "x") else first[name]
            within = {"rtol": WITHIN[dtype], "atol": WITHIN[dtype] * float(expected.abs().max())}
            case = f"{kind} {cuts} {dtype} {name}"
            torch.testing.assert_close(got, expected, **within, msg=lambda m, c=case: f"{c}: {m}")
            if name.endswith("-each"):
                assert all(torch.equal(one, first[name]) for one in of_ranks), f"{case}: equal on all ranks"
