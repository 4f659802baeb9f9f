"""What every objective of joint embedding holds to, on toy encoders."""

import copy

import pytest
import torch

from sensorium import Needs
from sensorium.optimizers.adamw import adamw
from sensorium.seeding import seed_globals
from tests.plugins.joint_embedding import MULTICROP, OPTIONS, TOKENS, learner_of, objective_class, step, views_of

NAMES = list(OPTIONS)


def teacher_of(learner):
    return getattr(learner.objective, "teacher", None)


def optimizer_of(learner, lr=3e-3):
    return adamw(learner, lr, weight_decay=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_needs(name):
    needs = objective_class(name).needs
    masks = "masked" if name in TOKENS else None
    assert needs == Needs(views=2, multicrop=name in MULTICROP, tokens=name in TOKENS, info=masks)


@pytest.mark.parametrize("name", NAMES)
def test_trains(name):
    learner = learner_of(name)
    optimizer, teacher = optimizer_of(learner), teacher_of(learner)
    before = copy.deepcopy(learner.state_dict())
    losses = []
    for number in range(3):
        outcome = step(learner, views_of(name, seed=number), optimizer, number)
        losses.append(outcome.loss)
        assert not any(value.requires_grad for value in (*outcome.logs.values(), *outcome.features.values()))
        assert set(outcome.features) == {"features", "projection"}
    assert all(loss.isfinite() and loss.requires_grad for loss in losses)
    # DDP waits for the gradient of every weight that asks for one.
    assert [n for n, p in learner.named_parameters() if p.requires_grad and p.grad is None] == []
    if teacher is not None:
        assert not any(p.requires_grad for p in teacher.parameters())
        assert all(p.grad is None for p in teacher.parameters())
        moved = {n for n, p in learner.named_parameters() if "teacher" in n and not torch.equal(p, before[n])}
        assert any("encoders" in n for n in moved)
        assert any("heads" in n for n in moved)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_teacher_is_in_the_optimizer(name):
    learner = learner_of(name)
    owned = {id(p) for group in optimizer_of(learner).param_groups for p in group["params"]}
    assert owned == {id(p) for n, p in learner.named_parameters() if ".teacher." not in n}


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_is_bit_equal(name):
    learner = learner_of(name)
    optimizer = optimizer_of(learner)
    for number in range(2):
        step(learner, views_of(name, seed=number), optimizer, number)
    saved = copy.deepcopy((learner.state_dict(), optimizer.state_dict()))
    other = learner_of(name)
    for p in other.parameters():
        p.data.zero_()
    other.load_state_dict(saved[0])
    other_optimizer = optimizer_of(other)
    other_optimizer.load_state_dict(saved[1])
    for number in range(2, 5):
        one = step(learner, views_of(name, seed=number), optimizer, number).loss
        two = step(other, views_of(name, seed=number), other_optimizer, number).loss
        assert torch.equal(one, two)
    assert all(
        torch.equal(a, b) for a, b in zip(learner.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_copes_with_one_record_and_evaluation_moves_nothing(name):
    learner = learner_of(name).eval()
    before = copy.deepcopy(learner.state_dict())
    loss = learner(views_of(name, count=1)).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in learner.parameters())
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_near(name):
    values = []
    for half in (False, True):
        learner = learner_of(name)
        seed_globals("forward")
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            outcome = learner(views_of(name))
        outcome.loss.backward()
        assert outcome.loss.dtype == torch.float32
        values.append(float(outcome.loss.detach()))
    assert abs(values[1] - values[0]) < 0.1 * max(abs(values[0]), 1)


def gap(learner, name):
    """How much more views of strangers cost than views of one record."""
    strangers = views_of(name, 32, seed=99)
    for view in strangers["a"][1:]:
        view.batch = view.batch.select(torch.arange(32).roll(4))  # records of the same length
    found = []
    for views in (views_of(name, 32, seed=99), strangers):
        seed_globals("measure")
        found.append(float(copy.deepcopy(learner)(views).loss.detach()))
    return found[1] - found[0]


@pytest.mark.parametrize(
    "name", sorted(set(NAMES) - {"w-mse"})
)  # strangers' whitened views are apart, whatever is learned
@pytest.mark.parametrize("sign", [1, -1])
def test_learns_which_views_belong_together_and_a_wrong_sign_does_not(name, sign):
    # A random student is its random teacher's copy and agrees with it already: there, training must keep a gap.
    copied = name in ("dino", "ibot", "dinov2")
    learner = learner_of(name)
    optimizer = optimizer_of(learner, lr=3e-4 if copied else 3e-3)
    before = 0.2 if copied else gap(learner, name)
    for number in range(40):
        step(learner, views_of(name, 32, seed=number), optimizer, number, steps=40, sign=sign)
    assert (gap(learner, name) > before) == (sign == 1)
