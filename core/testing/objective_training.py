"""Checks of objectives that only a training of several steps shows: teachers, collapse, state, what is learned."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from unittest import SkipTest

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.nn.modules.batchnorm import _BatchNorm

from sensorium.blocks.teacher import Teacher
from sensorium.contracts import Tokens
from sensorium.models.learner import Learner
from sensorium.testing.checked_part import CheckedPart, expect, rng
from sensorium.testing.equality import same
from sensorium.testing.objective_case import (
    ROWS,
    STEPS,
    ObjectiveCase,
    Views,
    case_of,
    loss_of,
    rows_of,
    run,
    train,
    without_dropout,
)
from sensorium.testing.synthetic import ToyBatch, ToyEncoder
from sensorium.types import Features, View

HEAD_STEPS = 20
"""Steps in which heads learn to make the best of constant features."""
DRAWS = 5
"""Random draws, such as of masks, in each of which a record's own targets must have the lower loss."""
RESUMED = 3
"""Steps after which a training is resumed."""


def does_not_train_its_teachers(checked: CheckedPart) -> None:
    """A copy of an encoder that `after_step` moves has frozen weights, which no optimizer then holds."""
    case = case_of(checked)
    learner = case.learner()
    train(learner, 1, lambda step: case.views(seed=step))
    before = {name: _vector(one) for name, one in _copies(learner).items()}
    if not before:
        raise SkipTest("it has no teacher")
    learner.objective.after_step(0.5)
    for name, teacher in _copies(learner).items():
        trained = [key for key, parameter in teacher.named_parameters() if parameter.requires_grad]
        expect(
            not trained or (torch.equal(before[name], _vector(teacher)) and not _is_of_teacher(learner, teacher)),
            f"the teacher {name} is trained as its student is: {', '.join(trained[:3])} require a gradient; use "
            "sensorium.Teacher as it is, or call requires_grad_(False) on the copy",
        )


def moves_its_teachers_after_a_step(checked: CheckedPart) -> None:
    """After a few steps every frozen copy of an encoder has moved towards the encoder that it is a copy of."""
    case = case_of(checked)
    if not _teachers(case.learner()):
        raise SkipTest("it has no teacher")
    before, learner = case.trained.first, case.trained.learner
    for name, teacher in _teachers(learner).items():
        was = _vector(_copies(before)[name])
        students = [encoder for encoder in learner.encoders.values() if type(encoder) is type(teacher)]
        moved = _vector(teacher) - was
        expect(
            bool(moved.abs().sum() > 0),
            f"the teacher {name} has its first weights after {STEPS} steps: update it in after_step, "
            "self.teacher.update(momentum)",
        )
        expect(
            any(float(moved @ (_vector(student) - was)) > 0 for student in students),
            f"the teacher {name} moves away from its student",
        )


def stops_the_gradient_where_collapse_is_easiest(checked: CheckedPart) -> None:
    """An objective that constant features serve best has a teacher, or a stop-gradient on its targets.

    Where neither is, the gradient of the encoder is the derivative of the loss, and the shortest way down is to make
    all features equal (Chen and He 2021, section 4.1).
    """
    case = case_of(checked)
    if case.needs.target:
        raise SkipTest("it has targets")
    if _teachers(case.learner()) or not _has_true_gradient(case):
        return
    views, start, trained = case.views(seed=STEPS), *_losses_around_training(case)
    low = trained + 0.02 * abs(start - trained)
    constant, nearly = case.learner(), case.learner()
    for learner, variation in ((constant, 0.0), (nearly, 0.1)):
        for module in learner.modules():
            if isinstance(module, ToyEncoder):
                _shrink(module, variation)
            elif isinstance(module, _BatchNorm) and not variation:
                module.eval()  # of constant features it would make zeros
    first = loss_of(constant, views)
    if first <= low and loss_of(nearly, views) > (first + start) / 2:
        # Normalization gives features their variation back, where there is any: then outputs may still be equal.
        _expect_pairs_to_matter(case, low)
        return
    if any(parameter.requires_grad for parameter in constant.parameters()):
        train(constant, HEAD_STEPS, lambda step: case.views(rows=4, seed=step), lr=1e-2)
    found = loss_of(constant, views)
    expect(
        found > low,
        f"constant features have the loss {found:.4f}, no more than trained features, {trained:.4f}, and the "
        "gradient flows through targets and predictions alike, so that all features become equal: detach the targets "
        "(z.detach()), or take them from a sensorium.Teacher",
    )


def _expect_pairs_to_matter(case: ObjectiveCase, low: float) -> None:
    """Expect that views of different records, taken as pairs, cannot be trained to the loss of true pairs.

    Args:
        case: of an objective of several views.
        low: the loss of trained features, and a little more.
    """
    if not (case.needs.is_crossmodal or case.needs.views > 1):
        return
    learner, views = case.learner(), _mispaired(case.views(seed=STEPS))
    start = loss_of(learner, views)
    train(learner, 2 * STEPS, lambda step: _mispaired(case.views(seed=step)))
    found = loss_of(learner, views)
    expect(
        start - found < 0.9 * (start - low),
        f"views of different records, as pairs, are trained from the loss {start:.4f} to {found:.4f}, almost that of "
        f"one record, {low:.4f}: outputs become equal for all, since the gradient flows through targets and "
        "predictions alike: detach the targets (z.detach()), or take them from a sensorium.Teacher",
    )


def _mispaired(views: Views) -> Views:
    """Return the views, all but the first of each record taken from the next record."""
    (name, (first, *rest)), *others = views.items()

    def of_next(made: list[View]) -> list[View]:
        return [rows_of(view, torch.arange(len(view)).roll(1)) for view in made]

    return {name: [first, *of_next(rest)]} | {other: of_next(made) for other, made in others}


def resumes_from_its_state_dict(checked: CheckedPart) -> None:
    """A new learner that loads the state_dict of a trained one has the same losses in the steps that follow."""
    case = case_of(checked)
    learner, resumed = case.learner(), case.learner()
    train(learner, RESUMED, lambda step: case.views(seed=step))
    resumed.load_state_dict(learner.state_dict())
    for step in range(RESUMED, RESUMED + 2):
        views = case.views(seed=step)
        expected, found = (float(run(one, views, step).loss.detach()) for one in (learner, resumed))
        expect(
            found == expected,
            f"step {step + 1} has the loss {expected:.6f}, and {found:.6f} if the training is resumed before it: keep "
            "queues, centers and counters in buffers (register_buffer), which a checkpoint holds",
        )
        for one in (learner, resumed):
            one.objective.after_step((step + 1) / (2 * STEPS))


def prefers_positive_pairs(checked: CheckedPart) -> None:
    """After a few steps, positive pairs (views or modalities of one record) are closer than negative pairs."""
    case = case_of(checked)
    if case.needs.target or not (case.needs.is_crossmodal or case.needs.views > 1):
        raise SkipTest("it compares neither views nor modalities")
    views, learner = case.views(rows=4 * ROWS, seed=STEPS), case.trained.learner
    if len(views) == 2:
        positive, negative = (_mean_cosine(learner, views, shift) for shift in (0, 1))
        expect(
            positive > negative,
            f"after {STEPS} steps, positive pairs have cosine {positive:.3f}, negative pairs {negative:.3f}",
        )
        return
    positive, negative = (loss_of(learner, v) for v in (views, _mispaired(views)))
    expect(
        positive < negative,
        f"after {STEPS} steps, positive pairs have loss {positive:.4f}, negative pairs {negative:.4f}",
    )


def learns_the_targets_of_its_own_records(checked: CheckedPart) -> None:
    """After a few steps, the targets of views or tokens have a lower loss than those of other records."""
    case = case_of(checked)
    views = case.views(rows=ROWS if case.has_real_target else 4 * ROWS, seed=STEPS)
    if case.needs.target:
        _check_view_targets(case, views)
    elif case.needs.tokens:
        _check_token_targets(without_dropout(copy.deepcopy(case.trained.learner)), views)
    else:
        raise SkipTest("it has no targets")


def _check_view_targets(case: ObjectiveCase, views: Views) -> None:
    """Compare the loss with targets of the same views, but of other rows."""
    others: Views = {}
    for name, made in views.items():
        others[name] = [replace(view, target=view.target.roll(1, 0)) for view in made if view.target is not None]
    if same(others, views):
        raise SkipTest("all records have the same target")
    learner = without_dropout(copy.deepcopy(case.trained.learner))
    for seed in range(DRAWS):
        own, other = (loss_of(learner, v, seed) for v in (views, others))
        expect(
            own < other,
            f"after {STEPS} steps, the loss of views with their own targets is {own:.4f}, with those of other records "
            f"{other:.4f}: row i of the predictions belongs to row i of view.target",
        )


def _check_token_targets(learner: Learner, views: Views) -> None:
    """Compare the loss with token targets of the same views, but of other rows."""
    asked, rolled = [], copy.deepcopy(learner)

    def of_another_record(targets: Tensor) -> Tensor:
        asked.append(True)
        return targets.roll(1, 0)

    for encoder in rolled.encoders.values():
        targets_of = encoder.token_targets
        encoder.token_targets = lambda batch, targets_of=targets_of: of_another_record(targets_of(batch))
    for seed in range(DRAWS):
        own, other = (loss_of(one, views, seed) for one in (learner, rolled))
        if not asked:
            raise SkipTest("its targets are no token targets of the encoder")
        expect(
            own < other,
            f"after {STEPS} steps, tokens have the loss {own:.4f} with their own targets, {other:.4f} with those of "
            "another record: token t of record i is predicted from record i",
        )


def _copies(learner: Learner) -> dict[str, nn.Module]:
    """Return the modules of an encoder's class within the objective, by name."""
    kinds = tuple(type(encoder) for encoder in learner.encoders.values())
    return {name: module for name, module in learner.objective.named_modules() if isinstance(module, kinds)}


def _teachers(learner: Learner) -> dict[str, nn.Module]:
    """Return the frozen copies of encoders within the objective, by name."""
    return {
        name: module
        for name, module in _copies(learner).items()
        if not any(parameter.requires_grad for parameter in module.parameters())
    }


def _is_of_teacher(learner: Learner, module: nn.Module) -> bool:
    """Return whether a module is part of a `sensorium.Teacher`."""
    teachers = (one for one in learner.modules() if isinstance(one, Teacher))
    return any(module is part for teacher in teachers for part in teacher.modules())


def _vector(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def _has_true_gradient(case: ObjectiveCase) -> bool:
    """Return whether the gradient of the encoders is the derivative of the loss, by a central difference."""
    learner, views = without_dropout(case.learner()).double(), _far_apart(case.views(masked=True))
    run(learner, views).loss.backward()
    moved = [p for p in learner.encoders.parameters() if p.grad is not None]
    size = math.sqrt(sum(float(p.grad.square().sum()) for p in moved if p.grad is not None))
    if size == 0:
        return False
    values, step = [], 1e-3
    with torch.no_grad():
        for sign in (1, -2):
            for parameter in moved:
                assert parameter.grad is not None
                parameter.add_(parameter.grad, alpha=sign * step / size)
            values.append(loss_of(learner, views))
    difference = (values[0] - values[1]) / (2 * step)
    return abs(difference - size) < 1e-2 * size


def _far_apart(views: Views) -> Views:
    """Return toy views in double precision, with noise that makes those of one record differ much."""
    generator, changed = rng("far apart"), copy.deepcopy(views)
    for made in changed.values():
        for view in made:
            assert isinstance(view.batch, ToyBatch)
            noise = torch.randn(view.batch.x.shape, generator=generator, dtype=torch.float64)
            view.batch.x = view.batch.x.double() + noise
    return changed


def _losses_around_training(case: ObjectiveCase) -> tuple[float, float]:
    """Return the loss before and after the short training."""
    views = case.views(seed=STEPS)
    return loss_of(case.trained.first, views), loss_of(case.trained.learner, views)


def _shrink(encoder: ToyEncoder, variation: float) -> None:
    """Let features differ by a fraction of what they did, from record to record and token to token, for good."""
    whole = type(encoder).encode_tokens
    center_D = torch.linspace(-1, 1, encoder.dim)

    def shrunk(tokens: Tokens, keep: Tensor | None = None) -> Features:
        features = whole(encoder, tokens, keep)
        pooled, tokens_BTD = (center_D + variation * x for x in (features.pooled, features.require_tokens("toy")))
        return Features(pooled, tokens_BTD, features.mask)

    encoder.encode_tokens = shrunk  # type: ignore[method-assign]
    encoder.requires_grad_(False)


@torch.no_grad()
def _mean_cosine(learner: Learner, views: Views, shift: int) -> float:
    """Return the mean cosine of two modalities, the records of one shifted."""
    x_ND, y_ND = (learner.encode(name, made[0].batch, ["embedding"])["embedding"] for name, made in views.items())
    return float(cosine_similarity(x_ND, y_ND.roll(shift, 0)).mean())


CHECKS = (
    does_not_train_its_teachers,
    moves_its_teachers_after_a_step,
    stops_the_gradient_where_collapse_is_easiest,
    resumes_from_its_state_dict,
    prefers_positive_pairs,
    learns_the_targets_of_its_own_records,
)
