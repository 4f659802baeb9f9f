"""Token counts differ from rank to rank; value and gradient are still those of the joined batch."""

import pytest
import torch

from sensorium.losses.contrastive import info_nce
from sensorium.losses.tokens import class_weights, perplexity, token_cross_entropy
from tests.distributed.ranks import on_ranks

SIZES = [3, 1]


def problem():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 7, generator=rng, dtype=torch.float64)
    targets = torch.randint(7, (4, 5), generator=rng)
    mask = torch.arange(5) < torch.tensor([5, 2, 1, 4])[:, None]
    rows = [torch.randn(4, 6, generator=rng, dtype=torch.float64) for _ in range(2)]
    return logits, targets, mask, *rows


def losses_of(logits, targets, mask, x, y):
    inputs = [t.requires_grad_() for t in (logits, x, y)]
    tokens, rows = token_cross_entropy(logits, targets, mask), info_nce(x, y, 0.3)
    weighted = token_cross_entropy(logits, targets, mask, class_weights(targets.masked_fill(~mask, -100), 7, 0.5))
    (tokens + rows + weighted).backward()
    return {
        "tokens": tokens.detach(),
        "weighted": weighted.detach(),
        "rows": rows.detach(),
        "perplexity": perplexity(tokens),
    }, [t.grad for t in inputs]


def one_rank(rank, world):
    return losses_of(*(t.split(SIZES)[rank].clone() for t in problem()))


def test_ranks_agree_with_one_process(tmp_path):
    found = on_ranks(2, one_rank, tmp_path)
    values, gradients = losses_of(*problem())
    for name in ("tokens", "weighted", "rows"):
        assert torch.allclose(sum(f[0][name] for f in found) / 2, values[name], rtol=1e-12)
    assert all(torch.allclose(f[0]["perplexity"], values["perplexity"]) for f in found)
    for i, whole in enumerate(gradients):
        assert torch.allclose(torch.cat([f[1][i] for f in found]) / 2, whole, rtol=1e-8, atol=1e-12)
    assert found[0][0]["tokens"] != pytest.approx(float(values["tokens"]))
