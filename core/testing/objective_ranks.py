"""Checks of objectives on two ranks: two gloo processes with different records train as one process with all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest import SkipTest

import numpy as np
import torch
from torch import Tensor

from sensorium import seeding
from sensorium.parallel import collectives
from sensorium.parallel.batch_norm import synchronize
from sensorium.testing.checked_part import CheckedPart, Failure, expect
from sensorium.testing.objective_case import (
    LearnerParts,
    Views,
    case_of,
    lacking,
    records_between,
    without_dropout,
)
from sensorium.testing.rank_processes import RankError, rank_processes
from sensorium.testing.row_draws import RowDraws
from sensorium.testing.synthetic import ToyBatch

CUT, RECORDS = 7, 11
"""The first rank has the first `CUT` of the records, the other one the rest."""
TOLERANCE = 1e-3
"""Of a loss or gradient, relative to the largest; what ranks that do not join their records get is off by percents."""
DRAWN_TOLERANCE = 0.1
"""The same where records have masks drawn at random, of which a rank takes as many tokens as its records allow."""


@dataclass
class RankSteps:
    """What a few optimizer steps are on one rank.

    Args:
        losses: this rank's loss of each step.
        trained: parameters that had a gradient on this rank, of each step.
        gradients: the mean over ranks of each step's gradients.
        buffers: after the last step.
        draws: shapes of random draws that are not one for each record.
        draws_for_records: whether others are.
    """

    losses: list[float]
    trained: list[list[str]]
    gradients: list[dict[str, Tensor]]
    buffers: dict[str, Tensor]
    draws: list[tuple[int, ...]]
    draws_for_records: bool = False


def take_steps(rank: int, world: int, parts: LearnerParts, steps: Sequence[Views]) -> RankSteps:
    """Take one optimizer step for each batch, on this rank's records of it."""
    start, stop = (0, RECORDS) if world == 1 else ((0, CUT), (CUT, RECORDS))[rank]
    learner = without_dropout(parts.learner())
    if _is_of_toys(steps[0]):
        learner.double()
    synchronize(learner)
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.05)
    found = RankSteps([], [], [], {}, [])
    for step, views in enumerate(steps):
        mine = {name: [records_between(view, start, stop) for view in made] for name, made in views.items()}
        with RowDraws(start, stop, RECORDS, step) as draws:
            seeding.seed_globals("step", step, rank)
            outcome = learner(mine)
        optimizer.zero_grad()
        outcome.loss.backward()
        with torch.no_grad():
            found.trained.append([n for n, p in learner.named_parameters() if p.grad is not None])
            for parameter in learner.parameters():
                if parameter.requires_grad:
                    mine_of_it = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad = collectives.all_reduce_mean(mine_of_it)
        found.losses.append(float(outcome.loss.detach()))
        found.gradients.append({n: p.grad.clone() for n, p in learner.named_parameters() if p.grad is not None})
        found.draws += draws.others
        found.draws_for_records |= draws.of_records > 0
        optimizer.step()
        learner.objective.after_step((step + 1) / 100)
    found.buffers = {name: value.clone() for name, value in learner.named_buffers()}
    return found


def is_exact_on_two_ranks(checked: CheckedPart) -> None:
    """Loss, gradients and buffers of two ranks with different, uneven records are those of one process with all."""
    case = case_of(checked)
    steps = [case.views(RECORDS, seed, masked=True) for seed in range(2)]
    if case.needs.is_crossmodal:  # the other rank has no record with the first modality
        first, present = next(iter(steps[1])), np.arange(RECORDS) % 3 > 0
        present[CUT:] = False
        steps[1] = steps[1] | {first: [lacking(view, present) for view in steps[1][first]]}
    steps = [_double(views) for views in steps]
    whole = take_steps(0, 1, case.parts, steps)
    ranks = rank_processes().run(take_steps, case.parts, steps)
    _check_for_errors(ranks)
    try:
        _compare(whole, ranks)
    except Failure as failure:
        if any(of_rank.draws != whole.draws for of_rank in ranks):
            raise SkipTest("it draws random numbers that are not one for each record") from failure
        raise


def _check_for_errors(ranks: list[RankSteps | RankError]) -> None:
    for rank, found in enumerate(ranks):
        if isinstance(found, RankError):
            if found.is_foreign:
                raise SkipTest(f"another process cannot import it: {found.text}")
            raise Failure(f"on two ranks, rank {rank} fails: {found.text}")


def _compare(whole: RankSteps, ranks: list[RankSteps]) -> None:
    tolerance = DRAWN_TOLERANCE if whole.draws_for_records else TOLERANCE
    for step, expected in enumerate(whole.losses):
        when = f"in step {step + 1} on two ranks"
        one, other = (set(of_rank.trained[step]) for of_rank in ranks)
        uneven = sorted(one ^ other)
        expect(not uneven, f"{when}, {', '.join(uneven[:3])} has a gradient on one rank alone, and the other one waits")
        found = sum(of_rank.losses[step] for of_rank in ranks) / len(ranks)
        expect(
            abs(found - expected) <= tolerance * max(1.0, abs(expected)),
            f"{when} the mean loss is {found:.5f}, in one process with all records {expected:.5f}: compare with the "
            "joined records (collectives.all_gather), and return this rank's share (collectives.share), as the "
            "functions of sensorium.losses do",
        )
        largest = max((float(g.abs().max()) for g in whole.gradients[step].values() if g.numel()), default=0.0)
        for name, gradient in whole.gradients[step].items():
            off = float((ranks[0].gradients[step][name] - gradient).abs().max()) if gradient.numel() else 0.0
            expect(
                off <= tolerance * largest,
                f"{when} the loss is that of one process, but not the gradient of {name}, which is off by "
                f"{off / max(largest, 1e-30):.0%} of the largest: gather with sensorium.collectives.all_gather, which "
                "carries the gradient back to the rank that made the rows",
            )
    for name, value in whole.buffers.items():
        for of_rank in ranks:
            mine = of_rank.buffers[name]
            is_equal = mine.shape == value.shape and torch.allclose(
                mine.double(), value.double(), tolerance, tolerance, equal_nan=True
            )
            expect(
                is_equal,
                f"after two steps on two ranks the buffer {name} is not what it is in one process with all records: "
                "fill queues and centers from the joined records (collectives.all_gather)",
            )


def _is_of_toys(views: Views) -> bool:
    return all(isinstance(view.batch, ToyBatch) for made in views.values() for view in made)


def _double(views: Views) -> Views:
    """Return the views of toys in double precision, others as they are."""
    if _is_of_toys(views):
        for made in views.values():
            for view in made:
                assert isinstance(view.batch, ToyBatch)
                view.batch = ToyBatch(view.batch.x.double())
    return views


CHECKS = (is_exact_on_two_ranks,)
