"""What every objective holds to, whatever the modality: tried on toy encoders and toy records."""

from __future__ import annotations

import copy
from dataclasses import replace
from unittest import SkipTest

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sensorium import seeding
from sensorium.contracts import Encoder, TokenEncoder, has_target
from sensorium.errors import PluginError, SensoriumError
from sensorium.models.learner import Learner
from sensorium.testing.case import Case, Failure, expect, rng
from sensorium.testing.synthetic import ToyEncoder, ToyWordEncoder, toy_records, toy_views
from sensorium.types import Outcome, View

Views = dict[str, list[View]]
ROWS = 8
STEPS = 30


def gives_a_finite_loss(case: Case) -> None:
    """The loss is a finite scalar with a gradient; logs are scalars and features rows, both detached."""
    outcome = _run(_learner(case), _views(case))
    expect(outcome.loss.requires_grad, "the loss has no gradient")
    for name, value in outcome.logs.items():
        expect(value.numel() == 1 and not value.requires_grad, f"the log '{name}' is no detached scalar")
    for name, rows in outcome.features.items():
        expect(rows.ndim == 2 and not rows.requires_grad, f"the features '{name}' are no detached rows (N, D)")


def sends_gradient_to_every_encoder(case: Case) -> None:
    """Every encoder learns from the loss."""
    learner = _learner(case)
    _run(learner, _views(case)).loss.backward()
    for name, encoder in learner.encoders.items():
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        expect(any(bool(g.abs().sum() > 0) for g in gradients), f"no gradient reaches the encoder of '{name}'")
        expect(all(bool(g.isfinite().all()) for g in gradients), f"the gradient of '{name}' is not finite")


def copes_with_one_or_two_records(case: Case) -> None:
    """Batches of two train; a batch of one has a finite loss in eval mode, where batch norm needs no second."""
    _run(_learner(case), _views(case, rows=2)).loss.backward()
    _run(_learner(case).eval(), _views(case, rows=1))


def copes_with_absent_records(case: Case) -> None:
    """An objective of many modalities takes records that lack one, and a batch in which none has it."""
    if case.spec.load().needs.modalities != "many":
        raise SkipTest("it takes one modality")
    whole = _views(case)
    first, *_ = whole
    half = torch.arange(ROWS) % 2 == 0
    partial = whole | {first: [replace(_rows(v, half), present=half) for v in whole[first]]}
    for views in (partial, whole | {first: []}):
        _run(_learner(case), views).loss.backward()


def is_finite_in_bfloat16(case: Case) -> None:
    """Under autocast to bfloat16 the loss is computed in single precision and is finite."""
    learner, views = _learner(case), _views(case)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outcome = _run(learner, views)
    expect(outcome.loss.dtype == torch.float32, f"under autocast the loss is {outcome.loss.dtype}")
    outcome.loss.backward()


def does_not_depend_on_the_order_of_records(case: Case) -> None:
    """Records in another order have the same loss, unless the objective draws at random."""
    views = _views(case)
    learner = _learner(case)
    once, again = (float(_run(copy.deepcopy(learner), views, seed=s).loss.detach()) for s in (0, 1))
    if once != again:
        raise SkipTest("it draws at random")
    order = torch.randperm(ROWS, generator=rng("order"))
    turned = {name: [_rows(view, order) for view in made] for name, made in views.items()}
    loss = float(_run(copy.deepcopy(learner), turned).loss.detach())
    expect(
        abs(loss - once) <= 1e-4 * max(1.0, abs(once)), f"the loss of records in another order is {loss}, not {once}"
    )


def prefers_what_belongs_together(case: Case) -> None:
    """After a few steps, views (or modalities) of one record are closer than those of different records."""
    needs = case.spec.load().needs
    many = needs.modalities == "many"
    if needs.target or not (many or needs.views > 1):
        raise SkipTest("it compares neither views nor modalities")
    learner = _learner(case)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=3e-3)
    for step in range(STEPS):
        optimizer.zero_grad()
        _run(learner, _views(case, rows=4 * ROWS, seed=step), seed=step).loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / STEPS)
    views = _views(case, rows=4 * ROWS, seed=STEPS)
    if many:
        apart = _mean_cosine(learner, views, shift=1)
        together = _mean_cosine(learner, views, shift=0)
        expect(together > apart, f"after {STEPS} steps, pairs have cosine {together:.3f}, strangers {apart:.3f}")
        return
    order = torch.arange(4 * ROWS).roll(1)
    (name, made), *_ = views.items()
    strangers = {name: [made[0], *(_rows(view, order) for view in made[1:])]}
    together, apart = (float(_run(copy.deepcopy(learner), v).loss.detach()) for v in (views, strangers))
    expect(
        together < apart, f"after {STEPS} steps, views of one record have loss {together:.4f}, of strangers {apart:.4f}"
    )


def _run(learner: Learner, views: Views, seed: int = 0) -> Outcome:
    seeding.seed_globals("objective", seed)
    outcome = learner(views)
    expect(isinstance(outcome, Outcome), f"forward returns a {type(outcome).__name__}, not an Outcome")
    expect(outcome.loss.ndim == 0, f"the loss has shape {tuple(outcome.loss.shape)}, it must be a scalar")
    expect(bool(outcome.loss.isfinite()), f"the loss is {outcome.loss.item()}")
    return outcome


def _learner(case: Case) -> Learner:
    """Return a learner of toy encoders that the objective takes."""
    needs = case.spec.load().needs
    if needs.target:
        target = _target_case(case)
        told = target.generator.classes, target.generator.views
        return Learner({target.modality_name: _encoder(target)}, case.build(), *told)
    names = ("first", "second") if needs.modalities == "many" else ("toy",)
    refusals = []
    for toy in (ToyEncoder, ToyWordEncoder):
        try:
            learner = Learner({name: toy() for name in names}, case.build())
            _run(copy.deepcopy(learner), _views(case))
        except SensoriumError as refused:
            refusals.append(str(refused))
        else:
            return learner
    raise Failure(f"it refuses the toy encoders: {' '.join(refusals)}")


def _views(case: Case, rows: int = ROWS, seed: int = 0) -> Views:
    needs = case.spec.load().needs
    generator = rng("views", seed)
    if needs.target:
        target = _target_case(case)
        index = torch.arange(rows) % len(target.batch)
        made = target.views(seed, target.batch.select(index))
        present = torch.ones(rows, dtype=torch.bool)
        return {target.modality_name: [replace(v, modality=target.modality_name, present=present) for v in made]}
    x_BTC = toy_records(rows, generator)
    names = ("first", "second") if needs.modalities == "many" else ("toy",)
    return {name: toy_views(x_BTC, needs.views, generator, name, 2 * needs.multicrop) for name in names}


def _target_case(case: Case) -> Case:
    """Return a view generator that carries the target which the objective needs, ready to make views."""
    wanted = case.spec.load().needs.target
    by_token = None
    for spec in case.registry.specs("views"):
        found = Case(spec, case.registry, case.samples, case.options)
        try:
            found.has_what_it_is_tried_on()
        except (Failure, PluginError):
            continue
        if has_target(found.generator, wanted):
            if wanted != "class" or not found.generator.per_token:
                return found
            by_token = by_token or found
    if by_token is None:
        raise SkipTest(f"no view generator with samples carries the target '{wanted}'")
    return by_token


def _encoder(target: Case) -> Encoder:
    """Return the first encoder of the modality that can be built, encodes the samples and has the tokens asked for."""
    for spec in target.registry.specs("encoders"):
        if spec.modality in (None, target.modality_name):
            samples = {target.modality_name: target.raws}
            found = Case(spec, target.registry, samples, target.options)
            try:
                found.has_what_it_is_tried_on()
                encoder = found.new_encoder()
                encoder(found.batch)
                if target.generator.per_token and not isinstance(encoder, TokenEncoder):
                    continue
            except (Failure, SensoriumError):
                continue
            return encoder
    raise SkipTest(f"no encoder of modality '{target.modality_name}' can be built")


def _rows(view: View, index: Tensor) -> View:
    """Return a view's rows at `index`, with what stands beside them."""
    return replace(
        view,
        batch=view.batch.select(index),
        target=None if view.target is None else view.target[index],
        info={name: value[index] for name, value in view.info.items()},
        keys={name: value[index] for name, value in view.keys.items()},
    )


@torch.no_grad()
def _mean_cosine(learner: Learner, views: Views, shift: int) -> float:
    x_ND, y_ND = (learner.embed(name, made[0].batch) for name, made in views.items())
    return float(cosine_similarity(x_ND, y_ND.roll(shift, 0)).mean())


CHECKS = (
    gives_a_finite_loss,
    sends_gradient_to_every_encoder,
    copes_with_one_or_two_records,
    copes_with_absent_records,
    is_finite_in_bfloat16,
    does_not_depend_on_the_order_of_records,
    prefers_what_belongs_together,
)
