import math

import pytest
import torch

from sensorium.losses import NegativeRows, nearest_in_queue, queue_info_nce
from tests.core.losses.references import cosine


def rows(n=6, m=9, d=5, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(k, d, generator=rng, dtype=torch.float64).to(dtype) for k in (n, n, m)]


def reference(q, k, queue, temperature):
    """He et al. 2020, equation 1: one positive, the queue's rows, nothing else."""
    total = 0.0
    for i in range(len(q)):
        own = float(cosine(q[i], k[i])) / temperature
        others = [float(cosine(q[i], row)) / temperature for row in queue]
        total += math.log(sum(math.exp(s) for s in [own, *others])) - own
    return total / len(q)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_is_the_papers(temperature):
    q, k, queue = rows()
    expected = reference(q, k, queue, temperature)
    assert math.isclose(queue_info_nce(q, k, [NegativeRows(queue)], temperature), expected, rel_tol=1e-12)
    # Mutants: the batch's other keys as negatives too; the positive beside the queue's own copy of it.
    assert not math.isclose(
        queue_info_nce(q, k, [NegativeRows(torch.cat([queue, k]))], temperature), expected, rel_tol=1e-3
    )


def test_gradient_is_that_of_the_value_and_reaches_queries_alone():
    q, k, queue = (x.requires_grad_() for x in rows(3, 4, 3))
    assert torch.autograd.gradcheck(lambda a: queue_info_nce(a, k, [NegativeRows(queue)], 0.3), q)
    queue_info_nce(q, k, [NegativeRows(queue)], 0.3).backward()
    assert k.grad is None
    assert queue.grad is None


def test_the_nearest_row_is_that_of_highest_cosine():
    q, _, queue = rows()
    scaled = queue * torch.linspace(0.1, 10, 9, dtype=torch.float64)[:, None]  # length must not matter
    found = nearest_in_queue(q, scaled)
    for i in range(len(q)):
        best = max(range(9), key=lambda j: float(cosine(q[i], queue[j])))
        assert torch.equal(found[i], scaled[best])
    assert not nearest_in_queue(q.requires_grad_(), queue).requires_grad


@pytest.mark.parametrize("temperature", [0.01, 1.0])
@pytest.mark.parametrize("kind", ["none", "one", "zero", "equal"])
def test_degenerate_rows_stay_finite(kind, temperature):
    q, k, queue = rows(dtype=torch.float32)
    q, k = {"none": (q[:0], k[:0]), "one": (q[:1], k[:1]), "zero": (0 * q, 0 * k), "equal": (q, q)}[kind]
    q = q.clone().requires_grad_()
    loss = queue_info_nce(q, k, [NegativeRows(queue)], temperature)
    loss.backward()
    assert loss.isfinite()
    assert q.grad.isfinite().all()


def test_half_precision_is_computed_in_fp32():
    q, k, queue = rows(64, 64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = queue_info_nce(q.bfloat16(), k.bfloat16(), [NegativeRows(queue.float())], 0.1)
    assert found.dtype == torch.float32
    assert math.isclose(found, queue_info_nce(q, k, [NegativeRows(queue)], 0.1), rel_tol=0.01)
