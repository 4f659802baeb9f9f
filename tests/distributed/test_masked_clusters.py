"""Clusters of tokens on ranks with uneven rows, and none: all is as in one process with the joined batch."""

import pytest
import torch

from sensorium import losses
from sensorium.plugins.masked.masked_clusters import MaskedClusters
from sensorium.plugins.masked.masked_prediction import Predictor
from sensorium.plugins.masked.online_clusters import Online
from tests.distributed.ranks import on_ranks
from tests.plugins.toy_token_modality import learner_of, sequences, view_of

LENGTHS = (12, 7, 2, 9, 5, 12)
CUTS = [(4, 2), (6, 0), (0, 6)]
K = 3
OBJECTIVES = {
    "best-rq": lambda: MaskedClusters(clusters=4),
    "hubert": lambda: MaskedClusters("k-means", clusters=4),
    "capi": lambda: MaskedClusters("online", clusters=4, online=Online(bins=3)),
    "capi, predictor": lambda: MaskedClusters("online", 4, predictor=Predictor(1, 16, 2), online=Online(bins=3)),
}


def problem(rows):
    """Return scores of tokens, which of them are valid, and codes, of some of the records."""
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(len(LENGTHS), 12, K, generator=rng, dtype=torch.float64)
    return scores[rows], sequences(LENGTHS).mask[rows], scores.argmax(-1)[rows]


def losses_of(rows):
    """Return assignments, the loss with its gradient, and what is logged, of some of the records."""
    scores, mask, codes = problem(rows)
    scores.requires_grad_()
    targets = losses.positionwise_sinkhorn(scores, mask, 3, 0.2)
    loss = losses.soft_token_cross_entropy(scores, targets, mask, 0.12)
    loss.backward()
    logs = *losses.assignment_perplexity(targets, mask), losses.code_perplexity(codes.view(-1, 1), K, mask.flatten())
    return targets, loss.detach(), scores.grad, torch.stack([value.double() for value in logs])


def stepped(name, rows):
    """Return the outcome of one step on some of the records, and its gradients."""
    learner = learner_of(OBJECTIVES[name]()).double().train()
    if learner.objective.fits:
        learner.fit([[view_of(sequences(LENGTHS, dtype=torch.float64))]])
    batch = sequences(LENGTHS, dtype=torch.float64)
    masked = (torch.arange(12) % 2 == 0) & batch.mask
    outcome = learner([view_of(batch.select(rows), info={"masked": masked[rows]})])
    outcome.loss.backward()
    logs = torch.stack([outcome.logs["code_perplexity"].double(), outcome.assignments["clusters"].used.double()])
    return outcome.loss.detach(), logs, {n: p.grad for n, p in learner.named_parameters() if p.requires_grad}


def one_rank(rank, world):
    found = []
    for cuts in CUTS:
        rows = torch.arange(len(LENGTHS)).split(cuts)[rank]
        found.append((losses_of(rows), {name: stepped(name, rows) for name in OBJECTIVES}))
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("cut", range(len(CUTS)))
def test_losses_of_ranks_are_those_of_the_joined_batch(cut, ranks):
    targets, loss, gradient, logs = losses_of(torch.arange(len(LENGTHS)))
    first, second = (rank[cut][0] for rank in ranks)
    torch.testing.assert_close(torch.cat([first[0], second[0]]), targets, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close((first[1] + second[1]) / 2, loss, rtol=1e-9, atol=0)
    torch.testing.assert_close(torch.cat([first[2], second[2]]) / 2, gradient, rtol=1e-9, atol=1e-12)
    for found in (first[3], second[3]):
        torch.testing.assert_close(found, logs, rtol=1e-6, atol=1e-6)
    # The negative control: balanced over a rank's own rows, assignments are others.
    assert not torch.allclose(losses_of(torch.arange(4))[0], targets[:4], rtol=1e-2)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("cut", range(len(CUTS)))
def test_a_step_of_ranks_is_that_of_the_joined_batch(cut, name, ranks):
    loss, logs, gradients = stepped(name, torch.arange(len(LENGTHS)))
    first, second = (rank[cut][1][name] for rank in ranks)
    torch.testing.assert_close((first[0] + second[0]) / 2, loss, rtol=1e-9, atol=1e-12)
    for found in (first[1], second[1]):
        torch.testing.assert_close(found, logs, rtol=1e-5, atol=1e-6)
    for key, whole in gradients.items():
        averaged = (first[2][key] + second[2][key]) / 2
        torch.testing.assert_close(averaged, whole, rtol=1e-7, atol=1e-11, msg=lambda m, k=key: f"{k}: {m}")
