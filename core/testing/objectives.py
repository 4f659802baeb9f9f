"""Checks of objectives that one step shows, on toy encoders and toy records."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from unittest import SkipTest

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sensorium import seeding
from sensorium.errors import RecipeError
from sensorium.testing import objective_ranks, objective_sums, objective_training
from sensorium.testing.checked_part import CheckedPart, expect, expect_few_waits, rng
from sensorium.testing.emulation import emulate_steps
from sensorium.testing.equality import same
from sensorium.testing.objective_case import ROWS, case_of, lacking, loss_of, rows_of, run, train, without_dropout

SYNCHRONIZATIONS = 2
"""How often the host may wait for the device in a step; once it reads whether the step was finite."""


def returns_a_finite_loss(checked: CheckedPart) -> None:
    """The loss is a finite scalar with a gradient; logs are detached scalars, features detached rows (N, D)."""
    case = case_of(checked)
    outcome = run(case.learner(), case.views())
    expect(outcome.loss.requires_grad, "the loss has no gradient")
    for name, value in outcome.logs.items():
        expect(value.numel() == 1 and not value.requires_grad, f"the log '{name}' is not a detached scalar")
    for name, rows in outcome.features.items():
        expect(rows.ndim == 2 and not rows.requires_grad, f"the features '{name}' are not detached rows (N, D)")


def propagates_gradient_to_every_encoder(checked: CheckedPart) -> None:
    """The loss has a finite, nonzero gradient for every encoder."""
    case = case_of(checked)
    learner = case.learner()
    run(learner, case.views()).loss.backward()
    for name, encoder in learner.encoders.items():
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        expect(any(bool(g.abs().sum() > 0) for g in gradients), f"no gradient reaches the encoder of '{name}'")
        expect(all(bool(g.isfinite().all()) for g in gradients), f"the gradient of '{name}' is not finite")


def trains_every_parameter_of_its_own(checked: CheckedPart) -> None:
    """Every trainable parameter of the objective has a gradient; DDP raises an error for one that has none."""
    case = case_of(checked)
    learner = case.learner()
    run(learner, case.views()).loss.backward()
    unused = [name for name, p in learner.objective.named_parameters() if p.requires_grad and p.grad is None]
    expect(
        not unused,
        f"no gradient reaches {', '.join(unused[:3])}{' and others' if len(unused) > 3 else ''}, so that training on "
        "several ranks stops: leave out heads that the loss does not use, and freeze what is not trained "
        "(requires_grad_(False))",
    )


def handles_batches_of_one_and_two(checked: CheckedPart) -> None:
    """A batch of two can be trained on; a batch of one has a finite loss in eval mode (batch norm needs two)."""
    case = case_of(checked)
    run(case.learner(), case.views(rows=2)).loss.backward()
    run(case.learner().eval(), case.views(rows=1))


def handles_equal_records(checked: CheckedPart) -> None:
    """Records that are all equal, as when features have collapsed, have a finite loss and finite gradients."""
    case = case_of(checked)
    learner = case.learner()
    run(learner, case.views(equal=True)).loss.backward()
    infinite = [n for n, p in learner.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    expect(not infinite, f"for records that are all equal the gradient of {', '.join(infinite[:3])} is not finite")


def handles_missing_modalities(checked: CheckedPart) -> None:
    """An objective of several modalities accepts records that lack one, and a batch in which no record has it."""
    case = case_of(checked)
    if not case.needs.is_crossmodal:
        raise SkipTest("it takes one modality")
    whole = case.views()
    first, *_ = whole
    for present in (np.arange(ROWS) % 2 == 0, np.zeros(ROWS, dtype=bool)):
        views = whole | {first: [lacking(view, present) for view in whole[first]]}
        run(case.learner(), views).loss.backward()


def is_finite_under_bfloat16_autocast(checked: CheckedPart) -> None:
    """Under autocast to bfloat16 the loss is float32 and finite."""
    case = case_of(checked)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outcome = run(case.learner(), case.views())
    expect(
        outcome.loss.dtype == torch.float32,
        (
            f"under autocast the loss is {outcome.loss.dtype}: compute it in float32, "
            "inside torch.autocast(device_type, enabled=False)"
        ),
    )
    outcome.loss.backward()


def takes_a_step_on_a_gpu(checked: CheckedPart) -> None:
    """On an emulated CUDA device, in bf16 mixed precision, a step mixes no devices and no dtypes, and seldom waits."""
    case = case_of(checked)

    def emulated(steps: int):
        return emulate_steps(case.learner(), case.generators(), [case.records()] * steps)

    steps = emulated(1)
    if len(steps.synchronizations[-1]) > SYNCHRONIZATIONS:  # in the first step, constants may be copied to the device
        steps = emulated(2)
    expect(all(map(math.isfinite, steps.losses)), f"on a GPU the loss is {steps.losses}")
    expect_few_waits(steps.synchronizations[-1], SYNCHRONIZATIONS, "a step")


def does_not_modify_its_views(checked: CheckedPart) -> None:
    """The views, with their targets, info and keys, are bit-equal after the forward and the backward pass."""
    case = case_of(checked)
    views = case.views(masked=True)
    before = copy.deepcopy(views)
    run(case.learner(), views).loss.backward()
    for name, made in views.items():
        for number, view in enumerate(made):
            expect(
                same(view, before[name][number]),
                f"it writes to view {number} of '{name}', which others read: change a copy (x.clone(), torch.where)",
            )


def reads_the_keys_that_it_declares(checked: CheckedPart) -> None:
    """It reads those keys of records alone that `record_keys` names; "record" is always there."""
    case = case_of(checked)
    learner = case.learner()
    declared = learner.objective.record_keys
    if declared is None:
        raise SkipTest("it declares none, and so has all of them")
    number_B = torch.arange(ROWS)
    keys = dict.fromkeys(("record", *declared), number_B)
    views = {name: [replace(view, keys=keys) for view in made] for name, made in case.views().items()}
    try:
        run(learner, views)
    except (KeyError, RecipeError) as error:
        expect(False, f"it reads a key of records that its record_keys, {sorted(declared)}, does not name: {error}")


def changes_its_state_after_a_step_alone(checked: CheckedPart) -> None:
    """`forward` changes neither parameters nor buffers, running statistics of batch norms aside; `after_step` does."""
    case = case_of(checked)
    learner, views = case.learner(), case.views()
    train(learner, 1, lambda step: case.views(seed=step))  # a teacher then differs from its student
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    run(learner, views)
    statistics = {
        f"{name}.{buffer}"
        for name, module in learner.named_modules()
        if isinstance(module, _BatchNorm) or hasattr(module, "running_mean")
        for buffer, _ in module.named_buffers()
    }
    for name, value in learner.state_dict().items():
        expect(
            name in statistics or torch.equal(value, before[name]),
            f"forward changes {name}: teachers, queues and centers change in after_step, once for each step, however "
            "many forward passes it has",
        )


def is_a_function_of_its_views(checked: CheckedPart) -> None:
    """The same views have the same loss again, in training and in eval mode, when the global generators are seeded."""
    case = case_of(checked)
    views = case.views()
    for mode in (True, False):
        learner = case.learner().train(mode)
        once, again = (float(run(learner, views).loss.detach()) for _ in range(2))
        expect(
            once == again,
            f"the same views with the same seeds have the loss {once}, then {again}{'' if mode else ' in eval mode'}: "
            "it counts its calls, or has its own generator; draw from torch's global ones, which are seeded before "
            "each step",
        )


def leaves_the_seeds_alone(checked: CheckedPart) -> None:
    """It does not seed the global generators: what is drawn after it differs from step to step."""
    case = case_of(checked)
    learner, views = case.learner(), case.views()
    after = []
    for seed in range(2):
        seeding.seed_globals("leaves the seeds alone", seed)
        learner(views)
        after.append(torch.rand(4))
    expect(
        not torch.equal(*after),
        "it seeds torch's global generator, so that every step draws the same: draw without seeding",
    )


def is_invariant_to_record_order(checked: CheckedPart) -> None:
    """Records in another order have the same loss, unless the objective draws at random."""
    case = case_of(checked)
    views, learner = case.views(masked=True), without_dropout(case.learner())
    once, again = (loss_of(learner, views, seed) for seed in (0, 1))
    if once != again:
        raise SkipTest("it draws at random")
    order = torch.randperm(ROWS, generator=rng("order"))
    permuted = {name: [rows_of(view, order) for view in made] for name, made in views.items()}
    loss = loss_of(learner, permuted)
    expect(
        abs(loss - once) <= 1e-4 * max(1.0, abs(once)), f"the loss of records in another order is {loss}, not {once}"
    )


CHECKS = (
    returns_a_finite_loss,
    propagates_gradient_to_every_encoder,
    trains_every_parameter_of_its_own,
    handles_batches_of_one_and_two,
    handles_equal_records,
    handles_missing_modalities,
    is_finite_under_bfloat16_autocast,
    takes_a_step_on_a_gpu,
    does_not_modify_its_views,
    reads_the_keys_that_it_declares,
    changes_its_state_after_a_step_alone,
    is_a_function_of_its_views,
    leaves_the_seeds_alone,
    is_invariant_to_record_order,
    *objective_sums.CHECKS,
    *objective_training.CHECKS,
    *objective_ranks.CHECKS,
)
