"""Checks of objectives, on toy encoders and toy records."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from unittest import SkipTest

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sensorium import seeding
from sensorium.contracts import Encoder, TokenEncoder, ViewGenerator, has_target
from sensorium.errors import PluginError, SensoriumError
from sensorium.models.learner import Learner
from sensorium.testing.checked_part import CheckedPart, Failure, expect, expect_few_waits, rng
from sensorium.testing.emulation import EmulatedSteps, emulate_steps
from sensorium.testing.synthetic import ToyBatch, ToyEncoder, ToyViews, ToyWordEncoder, toy_records, toy_views
from sensorium.types import Outcome, Record, RecordBatch, View, record_keys

Views = dict[str, list[View]]
ROWS = 8
STEPS = 30
SYNCHRONIZATIONS = 2
"""How often the host may wait for the device in a step; once it reads whether the step was finite."""


def returns_a_finite_loss(checked: CheckedPart) -> None:
    """The loss is a finite scalar with a gradient; logs are detached scalars, features detached rows (N, D)."""
    outcome = _run(_learner(checked), _views(checked))
    expect(outcome.loss.requires_grad, "the loss has no gradient")
    for name, value in outcome.logs.items():
        expect(value.numel() == 1 and not value.requires_grad, f"the log '{name}' is not a detached scalar")
    for name, rows in outcome.features.items():
        expect(rows.ndim == 2 and not rows.requires_grad, f"the features '{name}' are not detached rows (N, D)")


def propagates_gradient_to_every_encoder(checked: CheckedPart) -> None:
    """The loss has a finite, nonzero gradient for every encoder."""
    learner = _learner(checked)
    _run(learner, _views(checked)).loss.backward()
    for name, encoder in learner.encoders.items():
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        expect(any(bool(g.abs().sum() > 0) for g in gradients), f"no gradient reaches the encoder of '{name}'")
        expect(all(bool(g.isfinite().all()) for g in gradients), f"the gradient of '{name}' is not finite")


def handles_batches_of_one_and_two(checked: CheckedPart) -> None:
    """A batch of two can be trained on; a batch of one has a finite loss in eval mode (batch norm needs two)."""
    _run(_learner(checked), _views(checked, rows=2)).loss.backward()
    _run(_learner(checked).eval(), _views(checked, rows=1))


def handles_missing_modalities(checked: CheckedPart) -> None:
    """An objective of several modalities accepts records that lack one, and a batch in which no record has it."""
    if checked.spec.load().needs.modalities != "many":
        raise SkipTest("it takes one modality")
    whole = _views(checked)
    first, *_ = whole
    half = torch.arange(ROWS) % 2 == 0
    partial = whole | {first: [replace(_rows(v, half), present=half.numpy()) for v in whole[first]]}
    nobody = np.zeros(ROWS, dtype=bool)
    nothing = whole | {first: [replace(_rows(v, torch.from_numpy(nobody)), present=nobody) for v in whole[first]]}
    for views in (partial, nothing):
        _run(_learner(checked), views).loss.backward()


def is_finite_under_bfloat16_autocast(checked: CheckedPart) -> None:
    """Under autocast to bfloat16 the loss is float32 and finite."""
    learner, views = _learner(checked), _views(checked)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outcome = _run(learner, views)
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
    steps = _emulated(checked, 1)
    if len(steps.synchronizations[-1]) > SYNCHRONIZATIONS:  # in the first step, constants may be copied to the device
        steps = _emulated(checked, 2)
    expect(all(map(math.isfinite, steps.losses)), f"on a GPU the loss is {steps.losses}")
    found = steps.synchronizations[-1]
    expect_few_waits(found, SYNCHRONIZATIONS, "a step")


def is_invariant_to_record_order(checked: CheckedPart) -> None:
    """Records in another order have the same loss, unless the objective draws at random."""
    views = _views(checked)
    learner = _learner(checked)
    once, again = (float(_run(copy.deepcopy(learner), views, seed=s).loss.detach()) for s in (0, 1))
    if once != again:
        raise SkipTest("it draws at random")
    order = torch.randperm(ROWS, generator=rng("order"))
    permuted = {name: [_rows(view, order) for view in made] for name, made in views.items()}
    loss = float(_run(copy.deepcopy(learner), permuted).loss.detach())
    expect(
        abs(loss - once) <= 1e-4 * max(1.0, abs(once)), f"the loss of records in another order is {loss}, not {once}"
    )


def prefers_positive_pairs(checked: CheckedPart) -> None:
    """After a few steps, positive pairs (views or modalities of one record) are closer than negative pairs."""
    needs = checked.spec.load().needs
    many = needs.modalities == "many"
    if needs.target or not (many or needs.views > 1):
        raise SkipTest("it compares neither views nor modalities")
    learner = _learner(checked)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=3e-3)
    for step in range(STEPS):
        optimizer.zero_grad()
        _run(learner, _views(checked, rows=4 * ROWS, seed=step), seed=step).loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / STEPS)
    views = _views(checked, rows=4 * ROWS, seed=STEPS)
    if many:
        negative = _mean_cosine(learner, views, shift=1)
        positive = _mean_cosine(learner, views, shift=0)
        expect(
            positive > negative,
            f"after {STEPS} steps, positive pairs have cosine {positive:.3f}, negative pairs {negative:.3f}",
        )
        return
    order = torch.arange(4 * ROWS).roll(1)
    (name, made), *_ = views.items()
    shuffled = {name: [made[0], *(_rows(view, order) for view in made[1:])]}
    positive, negative = (float(_run(copy.deepcopy(learner), v).loss.detach()) for v in (views, shuffled))
    expect(
        positive < negative,
        f"after {STEPS} steps, positive pairs have loss {positive:.4f}, negative pairs {negative:.4f}",
    )


def _run(learner: Learner, views: Views, seed: int = 0) -> Outcome:
    seeding.seed_globals("objective", seed)
    outcome = learner(views)
    expect(isinstance(outcome, Outcome), f"forward returns a {type(outcome).__name__}, not an Outcome")
    expect(outcome.loss.ndim == 0, f"the loss has shape {tuple(outcome.loss.shape)}, it must be a scalar")
    expect(bool(outcome.loss.isfinite()), f"the loss is {outcome.loss.item()}")
    return outcome


def _learner(checked: CheckedPart) -> Learner:
    """Return a learner of toy encoders that the objective accepts."""
    needs = checked.spec.load().needs
    if needs.target:
        target = _target_case(checked)
        generator = target.generator
        return Learner({target.modality_name: _encoder(target)}, checked.build(), generator.classes, generator.views)
    names = ("first", "second") if needs.modalities == "many" else ("toy",)
    refusals = []
    for toy in (ToyEncoder, ToyWordEncoder):
        try:
            learner = Learner({name: toy() for name in names}, checked.build())
            _run(copy.deepcopy(learner), _views(checked))
        except SensoriumError as refused:
            refusals.append(str(refused))
        else:
            return learner
    raise Failure(f"it refuses the toy encoders: {' '.join(refusals)}")


def _views(checked: CheckedPart, rows: int = ROWS, seed: int = 0) -> Views:
    needs = checked.spec.load().needs
    generator = rng("views", seed)
    if needs.target:
        target = _target_case(checked)
        index = torch.arange(rows) % len(target.batch)
        made = target.views(seed, target.batch.select(index))
        return {target.modality_name: [replace(v, modality=target.modality_name) for v in made]}
    x_BTC = toy_records(rows, generator)
    names = ("first", "second") if needs.modalities == "many" else ("toy",)
    return {name: toy_views(x_BTC, needs.views, generator, name, 2 * needs.multicrop) for name in names}


def _emulated(checked: CheckedPart, steps: int) -> EmulatedSteps:
    return emulate_steps(_learner(checked), _generators(checked), [_records(checked)] * steps)


def _generators(checked: CheckedPart) -> dict[str, ViewGenerator]:
    """Return what makes the views of `_views`, by modality."""
    needs = checked.spec.load().needs
    if needs.target:
        target = _target_case(checked)
        return {target.modality_name: target.generator}
    names = ("first", "second") if needs.modalities == "many" else ("toy",)
    return {name: ToyViews(name, needs.views, 2 * needs.multicrop) for name in names}


def _records(checked: CheckedPart) -> RecordBatch:
    """Return the records of which `_views` are views."""
    named = [Record(str(number), {}) for number in range(ROWS)]
    if checked.spec.load().needs.target:
        target = _target_case(checked)
        batches = {target.modality_name: target.batch.select(torch.arange(ROWS) % len(target.batch))}
    else:
        x_BTC = toy_records(ROWS, rng("records"))
        batches = {name: ToyBatch(x_BTC) for name in _generators(checked)}
    return RecordBatch([r.id for r in named], batches, dict.fromkeys(batches), record_keys(named))


def _target_case(checked: CheckedPart) -> CheckedPart:
    """Return the case of a view generator with the target that the objective needs."""
    needed = checked.spec.load().needs.target
    by_token = None
    for spec in checked.registry.specs("views"):
        found = CheckedPart(spec, checked.registry, checked.samples, checked.options)
        try:
            found.has_samples_and_options()
        except (Failure, PluginError):
            continue
        if has_target(found.generator, needed):
            if needed != "class" or not found.generator.per_token:
                return found
            by_token = by_token or found
    if by_token is None:
        raise SkipTest(f"no view generator with samples has the target '{needed}'")
    return by_token


def _encoder(target: CheckedPart) -> Encoder:
    """Return the first encoder of the modality that encodes the samples, and their tokens for a target per token."""
    for spec in target.registry.specs("encoders"):
        if spec.modality in (None, target.modality_name):
            samples = {target.modality_name: target.raws}
            found = CheckedPart(spec, target.registry, samples, target.options)
            try:
                found.has_samples_and_options()
                encoder = found.new_encoder()
                encoder(found.batch)
                if target.generator.per_token and not isinstance(encoder, TokenEncoder):
                    continue
            except (Failure, SensoriumError):
                continue
            return encoder
    raise SkipTest(f"no encoder of modality '{target.modality_name}' can be built")


def _rows(view: View, index: Tensor) -> View:
    """Return the rows of a view at `index`, with their targets, info and keys."""
    return replace(
        view,
        batch=view.batch.select(index),
        target=None if view.target is None else view.target[index],
        info={name: value[index] for name, value in view.info.items()},
        keys={name: value[index] for name, value in view.keys.items()},
    )


@torch.no_grad()
def _mean_cosine(learner: Learner, views: Views, shift: int) -> float:
    x_ND, y_ND = (learner.encode(name, made[0].batch, ["embedding"])["embedding"] for name, made in views.items())
    return float(cosine_similarity(x_ND, y_ND.roll(shift, 0)).mean())


CHECKS = (
    returns_a_finite_loss,
    propagates_gradient_to_every_encoder,
    handles_batches_of_one_and_two,
    handles_missing_modalities,
    is_finite_under_bfloat16_autocast,
    takes_a_step_on_a_gpu,
    is_invariant_to_record_order,
    prefers_positive_pairs,
)
