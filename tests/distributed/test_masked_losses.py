"""Masked tokens differ in number from rank to rank; value and gradient are still those of the joined batch."""

import torch

from sensorium import collectives
from sensorium.losses.masked import masked_regression, reconstruction
from sensorium.losses.next_embedding import next_embedding
from sensorium.losses.regression import element_regression, explained_variance
from sensorium.losses.sigreg import random_directions, sigreg, sigreg_by_step
from sensorium.plugins.predictive.lejepa import LeJEPA
from tests.distributed.ranks import on_ranks
from tests.plugins.toy_token_modality import Sequences, learner_of, view_of

CUTS = {2: [(3, 1), (4, 0), (2, 2)], 4: [(1, 0, 2, 1)]}
"""How many of the four rows each rank has, by the number of ranks."""


def problem():
    rng = torch.Generator().manual_seed(0)
    predictions, targets = (torch.randn(4, 5, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(5) < torch.tensor([5, 1, 0, 3])[:, None]
    return predictions, targets, mask, torch.randn(4, 6, generator=rng, dtype=torch.float64)


def defined(targets, mask):
    """Which elements count: at masked tokens those above a number, so that ranks have different many."""
    return mask[..., None] & (targets > -0.5)


def losses_of(predictions, targets, mask, z):
    """Return value and gradients of each loss."""
    torch.manual_seed(collectives.rank())
    directions = random_directions(6, 16, torch.device("cpu"))
    longest = max(int(mask.sum(1).amax()), 1) if len(mask) else 0  # a rank is padded to the longest of its own rows
    made = {
        "l2": lambda x, y, _: masked_regression(x, y, mask),
        "smooth-l1": lambda x, y, _: masked_regression(x, y, mask, "smooth-l1", 0.5),
        "elements": lambda x, y, _: element_regression(x, targets, defined(targets, mask)),
        "classes": lambda x, y, _: reconstruction(x, targets.argmax(-1), mask),
        "sigreg": lambda x, y, z: sigreg(z, directions),
        "next embedding": lambda x, y, _: next_embedding(x, 2 * x + y, mask),
        "sigreg by step": lambda x, y, _: sigreg_by_step(x[:, :longest], mask[:, :longest], directions[:3]),
    }
    explained = explained_variance(predictions, targets, defined(targets, mask))
    found = {"directions": directions, "explained": explained}
    for name, loss in made.items():
        inputs = [t.clone().requires_grad_() for t in (predictions, targets, z)]
        value = loss(*inputs)
        value.backward()
        found[name] = value.detach(), [t.grad for t in inputs]
    return found


def lejepa(rows):
    """Return the loss and gradients of the objective on these of four records."""
    learner = learner_of(LeJEPA(width=8, dim=4, directions=8)).double().eval()  # batch norm sees a rank's own rows
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 6, 3, generator=rng, dtype=torch.float64)
    torch.manual_seed(collectives.rank())
    loss = learner({"toy": [view_of(Sequences(view[rows])) for view in x]}).loss
    loss.backward()
    return {"loss": loss.detach()} | {name: p.grad for name, p in learner.named_parameters()}


def one_rank(rank, world):
    cases = [losses_of(*(t.split(cuts)[rank] for t in problem())) for cuts in CUTS[world]]
    return cases, lejepa(slice(0, 3) if rank == 0 else slice(3, 4)) if world == 2 else None


def agree_with_one_process(ranks):
    """Compare every case of these ranks with the whole; random directions are the same on all."""
    whole, world = losses_of(*problem()), len(ranks)
    for found in zip(*ranks, strict=True):
        assert all(torch.equal(one.pop("directions"), whole["directions"]) for one in found)
        assert all(torch.allclose(one.pop("explained"), whole["explained"]) for one in found)
        for name in found[0]:
            value, gradients = whole[name]
            assert torch.allclose(sum(one[name][0] for one in found) / world, value, rtol=1e-12), name
            for full, *parts in zip(gradients, *(one[name][1] for one in found), strict=True):
                if full is None:
                    assert parts == [None] * world
                else:
                    assert torch.allclose(torch.cat(parts) / world, full, rtol=1e-8, atol=1e-12), name
    return whole


def test_four_ranks_agree_with_one_process(tmp_path):
    agree_with_one_process([rank[0] for rank in on_ranks(4, one_rank, tmp_path)])


def test_two_ranks_agree_with_one_process(tmp_path):
    first, second = on_ranks(2, one_rank, tmp_path)
    whole = agree_with_one_process([first[0], second[0]])
    # The negative control: one rank's share is another number.
    assert not torch.allclose(first[0][0]["l2"][0], whole["l2"][0], rtol=1e-3)
    for name, joined in lejepa(slice(0, 4)).items():
        assert torch.allclose((first[1][name] + second[1][name]) / 2, joined, rtol=1e-6, atol=1e-10), name
