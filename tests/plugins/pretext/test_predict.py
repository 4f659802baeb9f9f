import math

import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.models.learner import Learner
from sensorium.plugins.pretext.predict import Predict
from tests.plugins.toy_token_modality import (
    SequenceEncoder,
    Sequences,
    learner_of,
    losses_while_training,
    sequences,
    view_of,
)

LENGTHS = (12,) * 8


def turned(rows=LENGTHS, dtype=torch.float32):
    """Records whose channels are rolled by 0, 1 or 2 places, and by how many."""
    batch = sequences(rows, dtype=dtype, padded=False)
    target = torch.arange(len(batch)) % 3
    x = torch.stack([(row * torch.tensor([1, 2, 4])).roll(int(by), 1) for row, by in zip(batch.x, target, strict=True)])
    return view_of(Sequences(x), target=target)


@pytest.mark.parametrize("width", [0, 8])
def test_loss_is_the_mean_over_records(width):
    learner, view = learner_of(Predict(3, width)).double().eval(), turned(dtype=torch.float64)
    outcome = learner({"toy": [view]})
    logits = learner.objective.head(learner.encoders["toy"](view.batch).pooled)
    costs = [float((row.logsumexp(0) - row[c]).detach()) for row, c in zip(logits, view.target, strict=True)]
    assert math.isclose(outcome.loss.detach(), sum(costs) / len(costs), rel_tol=1e-9)
    hits = [int(row.argmax()) == int(c) for row, c in zip(logits, view.target, strict=True)]
    assert math.isclose(outcome.logs["accuracy"], sum(hits) / len(hits), rel_tol=1e-6)
    assert sum(isinstance(m, torch.nn.Linear) for m in learner.objective.head) == 1 + bool(width)


def test_several_views_are_encoded_alone_and_told_side_by_side():
    torch.manual_seed(0)
    views = [turned(dtype=torch.float64), turned((7,) * 8, dtype=torch.float64)]
    learner = Learner({"toy": SequenceEncoder()}, Predict(3), views=2).double().eval()
    encoder, head = learner.encoders["toy"], learner.objective.head
    seen = torch.cat([encoder(view.batch).pooled for view in views], 1)
    expected = torch.nn.functional.cross_entropy(head(seen), views[0].target)
    assert torch.allclose(learner({"toy": views}).loss, expected)
    assert not torch.allclose(learner({"toy": views[::-1]}).loss, expected)  # the mutant: their sum, without an order
    for view in views:
        view.target = torch.zeros(8, 12, dtype=torch.long)
    with pytest.raises(RecipeError, match=r"gives features for \(8,\)\."):
        learner({"toy": views})


def test_a_few_steps_tell_the_classes_apart():
    learner, view = learner_of(Predict(3)), turned()
    found = losses_while_training(learner, {"toy": [view]}, 40, 1e-2)
    assert found[0] > 0.7
    assert found[-1] < 0.1
    assert learner({"toy": [view]}).logs["accuracy"] == 1


def test_one_record_half_precision_and_state():
    learner, other = learner_of(Predict(3)), learner_of(Predict(3), seed=1)
    other.load_state_dict(learner.state_dict())
    exact, same = (model({"toy": [turned((5,))]}).loss for model in (learner, other))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = other({"toy": [turned((5,))]}).loss
    assert torch.equal(exact, same)
    assert near.dtype == torch.float32
    assert torch.allclose(near, exact, rtol=0.05)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (None, "these have none"),
        (torch.zeros(8), r"torch.float32 \(8,\)"),
        (
            torch.zeros(8, 2, dtype=torch.long),
            r"torch.int64 \(8, 2\), the encoder gives features for \(8,\) or \(8, 12\)",
        ),
        (torch.full((8,), 3), "has classes 0 to 2, but its views have class 3"),
    ],
)
def test_targets_that_it_cannot_serve_are_refused(target, reason):
    with pytest.raises(RecipeError, match=reason):
        learner_of(Predict(3))({"toy": [view_of(sequences(LENGTHS), target=target)]})


def with_classes(objective, classes):
    torch.manual_seed(0)
    return Learner({"toy": SequenceEncoder()}, objective, classes)


def by_token(rows=LENGTHS, dtype=torch.float32):
    """Records whose tokens are to be told by their largest channel, the first token of each aside."""
    batch = sequences(rows, dtype=dtype, padded=False)
    target = batch.x.argmax(-1)
    target[:, 0] = -100
    return view_of(batch, target=target)


def test_a_class_for_each_token_is_the_mean_over_tokens_that_have_one():
    learner, view = with_classes(Predict(), 3).double().eval(), by_token(dtype=torch.float64)
    outcome = learner({"toy": [view]})
    logits = learner.objective.head(learner.encoders["toy"](view.batch).tokens)
    costs = []
    for row, classes in zip(logits, view.target, strict=True):
        costs += [float((x.logsumexp(0) - x[c]).detach()) for x, c in zip(row, classes, strict=True) if c >= 0]
    assert len(costs) == 8 * 11
    assert math.isclose(outcome.loss.detach(), sum(costs) / len(costs), rel_tol=1e-9)
    assert 0 <= outcome.logs["accuracy"] <= 1


def test_tokens_are_learned_each_by_itself():
    learner, view = with_classes(Predict(), 3), by_token()
    found = losses_while_training(learner, {"toy": [view]}, 60, 1e-2)
    assert found[-1] < 0.5 * found[0]


def test_the_number_of_classes_is_the_view_generators():
    assert with_classes(Predict(), 7).objective.head[-1].out_features == 7
    assert with_classes(Predict(9), 7).objective.head[-1].out_features == 9
    with pytest.raises(RecipeError, match="has classes 0 to 4, but its views have class 6"):
        with_classes(Predict(5), 7)
    with pytest.raises(RecipeError, match="needs views with a target of classes"):
        with_classes(Predict(), None)


def test_balance_weighs_rare_classes_up():
    view = turned()
    view.target = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1])
    learner = learner_of(Predict(3, balance=0.5)).double().eval()
    view.batch.x = view.batch.x.double()
    outcome = learner({"toy": [view]})
    logits = learner.objective.head(learner.encoders["toy"](view.batch).pooled)
    weights = [1 / (0.5 * share + 0.5 / 3) for share in (7 / 8, 1 / 8)]
    level = 7 / 8 * weights[0] + 1 / 8 * weights[1]
    costs = [float((row.logsumexp(0) - row[c]).detach()) for row, c in zip(logits, view.target, strict=True)]
    wanted = sum(weights[int(c)] / level * cost for c, cost in zip(view.target, costs, strict=True)) / 8
    assert math.isclose(outcome.loss.detach(), wanted, rel_tol=1e-6)
    with pytest.raises(RecipeError, match="balance"):
        Predict(balance=2)
