"""Masked tokens differ in number from rank to rank; value and gradient are still those of the joined batch."""

import torch

from sensorium.losses.quantized import code_perplexity, diversity, masked_contrastive
from tests.core.losses.test_quantized import problem
from tests.distributed.ranks import on_ranks

CUTS = [(2, 1), (1, 2), (3, 0)]
"""How many of the three records each rank has; the second has fewer masked tokens, the last none."""


def found_on(rows):
    """Return value and gradients of each loss on these records."""
    predictions, targets, codes, distractors, mask = (x[rows] for x in problem())
    predictions, targets = predictions.clone().requires_grad_(), targets.clone().requires_grad_()
    contrast = masked_contrastive(predictions, targets, codes, distractors, mask, 0.1)
    contrast.backward()
    scores = problem()[0][rows].clone().requires_grad_()
    diverse = diversity(scores[mask].unflatten(-1, (2, 3)).softmax(-1))
    diverse.backward()
    return {
        "contrast": (contrast.detach(), [predictions.grad, targets.grad]),
        "diversity": (diverse.detach(), [scores.grad]),
        "perplexity": (code_perplexity(codes[mask], 2), []),
    }


def one_rank(rank, world):
    return [found_on(torch.arange(3).split(cuts)[rank]) for cuts in CUTS]


def test_ranks_agree_with_one_process(tmp_path):
    whole = found_on(torch.arange(3))
    first, second = on_ranks(2, one_rank, tmp_path)
    for mine, yours in zip(first, second, strict=True):
        for name, (value, gradients) in whole.items():
            assert torch.allclose((mine[name][0] + yours[name][0]) / 2, value, rtol=1e-10), name
            for full, *halves in zip(gradients, mine[name][1], yours[name][1], strict=True):
                assert torch.allclose(torch.cat(halves) / 2, full, rtol=1e-8, atol=1e-12), name
    # The negative control: one rank's share is another number.
    assert not torch.allclose(first[0]["contrast"][0], whole["contrast"][0], rtol=1e-3)
