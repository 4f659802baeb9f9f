import math

import torch
from torch import nn

from sensorium.optimizers.lars import LARS


def test_lars_is_the_papers_step():
    """You et al. 2017, algorithm 1, by hand, for two steps."""
    torch.manual_seed(0)
    weight, bias = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3))
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = LARS(groups, lr=0.5, momentum=0.9, trust=0.01)
    w, b, vw, vb = weight.detach().clone(), bias.detach().clone(), torch.zeros(3, 2), torch.zeros(3)
    for _ in range(2):
        weight.grad, bias.grad = torch.randn(3, 2), torch.randn(3)
        g = weight.grad + 0.1 * w
        vw = 0.9 * vw + 0.01 * w.norm() / g.norm() * g
        vb = 0.9 * vb + bias.grad
        w, b = w - 0.5 * vw, b - 0.5 * vb
        optimizer.step()
    torch.testing.assert_close(weight.detach(), w)
    torch.testing.assert_close(bias.detach(), b)


def one_weight_at_a_time(weight, moment, group):
    """The step as it was, weight by weight."""
    grad = weight.grad.add(weight, alpha=group["weight_decay"])
    if group["weight_decay"] > 0:
        norms = weight.norm(), grad.norm()
        ratio = group["trust"] * norms[0] / norms[1]
        grad = grad * torch.where((norms[0] > 0) & (norms[1] > 0), ratio, torch.ones_like(ratio))
    moment.mul_(group["momentum"]).add_(grad)
    weight.sub_(group["lr"] * moment)


def test_lars_steps_all_weights_at_once_to_the_bits_of_one_at_a_time():
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(s)) for s in [(3, 2), (4, 3, 2, 2), (5,), (2, 2)]]
    weights[3].data.zero_()
    groups = [
        {"params": [weights[0], weights[1], weights[3]], "weight_decay": 0.1},
        {"params": [weights[2]], "weight_decay": 0.0},
    ]
    optimizer = LARS(groups, lr=0.5)
    twins, moments = [w.detach().clone() for w in weights], [torch.zeros_like(w) for w in weights]
    for step in range(4):
        for weight, twin, moment in zip(weights, twins, moments, strict=True):
            weight.grad = None if step == 1 and weight is weights[0] else torch.randn(weight.shape)
            twin.grad = weight.grad
            group = next(g for g in optimizer.param_groups if any(weight is p for p in g["params"]))
            if weight.grad is not None:
                one_weight_at_a_time(twin, moment, group)
        optimizer.step()
        assert all(torch.equal(w, t) for w, t in zip(weights, twins, strict=True))


def test_lars_leaves_a_zero_matrix_able_to_move():
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = LARS([{"params": [weight], "weight_decay": 0.1}], lr=0.1)
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert math.isfinite(weight.sum().item())
    assert weight.abs().sum() > 0
