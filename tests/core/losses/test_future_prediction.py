import math

import pytest
import torch

from sensorium.losses import future_info_nce


def rows(b=5, k=3, d=4, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(b, k, d, generator=rng, dtype=torch.float64).to(dtype) for _ in range(2)]


def first(counts, k=3):
    return torch.arange(k) < torch.tensor(counts)[:, None]


def reference(predictions, futures, mask=None, own=lambda i: i, over="futures"):
    """Eldele et al. 2021, equations 3 and 4, by loops; step by step, over records that have the step."""
    found = []
    for k in range(predictions.shape[1]):
        there = [i for i in range(len(predictions)) if mask is None or mask[i, k]]
        for i in there if len(there) > 1 else []:
            if over == "futures":
                scores = [predictions[i, k] @ futures[j, k] for j in there]
            else:
                scores = [predictions[j, k] @ futures[i, k] for j in there]
            positive = predictions[i, k] @ futures[own(i), k]
            found.append(torch.stack(scores).exp().sum().log() - positive)
    return torch.stack(found).mean() if found else predictions.new_zeros(())


@pytest.mark.parametrize("counts", [None, [3, 3, 3, 3, 3], [3, 0, 1, 2, 3], [1, 0, 0, 0, 0]])
def test_is_the_papers(counts):
    predictions, futures = rows()
    mask = None if counts is None else first(counts)
    found = future_info_nce(predictions, futures, mask)
    torch.testing.assert_close(found, reference(predictions, futures, mask), rtol=1e-12, atol=1e-12)


def test_mutants_are_caught():
    """Another record's future as the positive; InfoNCE from futures to predictions; steps as each other's negatives."""
    predictions, futures = rows()
    found = future_info_nce(predictions, futures)
    assert not torch.allclose(reference(predictions, futures, own=lambda i: (i + 1) % 5), found, rtol=1e-3)
    assert not torch.allclose(reference(predictions, futures, over="predictions"), found, rtol=1e-3)
    assert not torch.allclose(future_info_nce(predictions, futures.roll(1, 1)), found, rtol=1e-3)


def test_what_is_not_there_is_not_looked_at():
    predictions, futures = rows()
    mask = first([3, 0, 1, 2, 3])
    noise = 1e3 * ~mask[..., None]
    torch.testing.assert_close(
        future_info_nce(predictions - noise, futures + noise, mask), future_info_nce(predictions, futures, mask)
    )


@pytest.mark.parametrize("counts", [[3, 3, 3], [3, 0, 1]])
def test_the_gradient_is_that_of_the_value(counts):
    predictions, futures = (x.requires_grad_() for x in rows(3, 3, 2))
    mask = first(counts)
    assert torch.autograd.gradcheck(lambda a, b: future_info_nce(a, b, mask), (predictions, futures))
    future_info_nce(predictions, futures, mask).backward()
    assert (futures.grad[~mask] == 0).all()


@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("size", [0.0, 1.0, 100.0])
def test_few_and_equal_rows_stay_finite(count, size):
    predictions, futures = (torch.full((count, 3, 8), size).requires_grad_() for _ in range(2))
    loss = future_info_nce(predictions, futures)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(count) if count else 0.0, abs=1e-2)  # fp32 rounds scores of 80,000
    assert predictions.grad.isfinite().all()


def test_half_precision_is_near_and_computed_in_fp32():
    predictions, futures = rows(8, 3, 16)
    exact = reference(predictions, futures)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = future_info_nce(predictions.bfloat16(), futures.bfloat16())
    assert found.dtype == torch.float32
    assert abs(found - exact) < 0.02 * exact
