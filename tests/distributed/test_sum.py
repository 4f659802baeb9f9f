"""Several objectives on two ranks: the gradient is the weighted sum of the parts', and that of one process."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sensorium.parallel import collectives
from sensorium.parallel.batch_norm import synchronize
from sensorium.testing.objective_case import lacking, records_between
from sensorium.testing.synthetic import ToyEncoder
from tests.core.blocks.sums import NormedEncoder, Term, gradients, learner_of, of_parts, part, views_of
from tests.distributed.ranks import on_ranks

ROWS, CUT = 10, 6


def terms():
    return [
        Term(part("clip"), views={"a": [0]}),
        Term(part("simclr"), on="a", weight=0.5, views=[1, 2]),
        Term(part("byol"), on="a", weight=2.0, views=[1, 2]),
        Term(part("vicreg"), on="b", views=[0, 1]),
    ]


def given(rank, world, is_lacking):
    """The views of a rank's records; with `is_lacking`, the second rank has no record of the second modality."""
    views = views_of(a=3, b=2, rows=ROWS)
    views["b"] = views["b"][:2]
    if is_lacking:
        present = (torch.arange(ROWS) < CUT).numpy()
        views["b"] = [lacking(view, present) for view in views["b"]]
    start, stop = (0, ROWS) if world == 1 else ((0, CUT), (CUT, ROWS))[rank]
    return {name: [records_between(view, start, stop) for view in made] for name, made in views.items()}


def of_rank(rank, world, encoder, is_lacking):
    learner = learner_of(terms(), encoder)
    synchronize(learner)
    views = given(rank, world, is_lacking)
    _, parts = of_parts(learner, views)
    learner(views).loss.backward()
    found = gradients(learner)
    joined = [
        {name: collectives.all_reduce_mean(values[name].clone()) for name in sorted(values)}
        for values in (found, parts)
    ]
    return joined


@pytest.mark.parametrize("is_lacking", [False, True])
@pytest.mark.parametrize("encoder", [ToyEncoder, NormedEncoder])
def test_the_gradient_on_ranks_is_the_weighted_sum_of_the_parts_and_that_of_one_process(encoder, is_lacking, tmp_path):
    whole, _ = of_rank(0, 1, encoder, is_lacking)
    for found, parts in on_ranks(2, of_rank, tmp_path, encoder, is_lacking):
        assert found.keys() == parts.keys() == whole.keys()
        for name in whole:
            torch.testing.assert_close(found[name], parts[name], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(found[name], whole[name], rtol=1e-6, atol=1e-9)


def trained(rank, world):
    """Steps under DDP, across the start of a term on an encoder that nobody else trains."""
    learner = learner_of(
        [
            Term(part("simclr"), on="a", views=[0, 1]),
            Term(part("clip"), start=0.5),
            Term(part("byol"), on="a", start=0.75),
        ]
    )
    synchronize(learner)
    first = {name: p.detach().clone() for name, p in learner.named_parameters()}
    module = learner if world == 1 else DistributedDataParallel(learner, broadcast_buffers=False)
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.5)
    before = {}
    for step in range(4):
        views = views_of(a=2, b=1, rows=ROWS, seed=step)
        start, stop = (0, ROWS) if world == 1 else ((0, CUT), (CUT, ROWS))[rank]
        mine = {name: [records_between(view, start, stop) for view in made] for name, made in views.items()}
        optimizer.zero_grad()
        module(mine).loss.backward()
        learner.drop_frozen_gradients({}, step / 4)
        optimizer.step()
        learner.objective.after_step((step + 1) / 4)
        if step == 1:
            before = {n: p.detach().clone() for n, p in learner.named_parameters() if n.startswith("encoders.b.")}
    return first, before, {name: p.detach() for name, p in learner.named_parameters()}


def test_a_term_that_waits_lets_no_rank_wait_and_moves_no_weight(tmp_path):
    _, _, whole = trained(0, 1)
    for first, before, last in on_ranks(2, trained, tmp_path):
        assert all(torch.equal(first[name], weight) for name, weight in before.items())
        for name, weight in whole.items():
            torch.testing.assert_close(last[name], weight, rtol=1e-5, atol=1e-7)
