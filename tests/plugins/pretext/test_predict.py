import math

import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.plugins.pretext.predict import Predict
from tests.plugins.toy_token_modality import Sequences, learner_of, losses_while_training, sequences, view_of

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
        (None, "these carry none"),
        (torch.zeros(8), r"torch.float32 \(8,\)"),
        (torch.zeros(8, 2, dtype=torch.long), r"torch.int64 \(8, 2\)"),
        (torch.full((8,), 3), "has classes 0 to 2, but its views carry class 3"),
    ],
)
def test_targets_that_it_cannot_serve_are_refused(target, reason):
    with pytest.raises(RecipeError, match=reason):
        learner_of(Predict(3))({"toy": [view_of(sequences(LENGTHS), target=target)]})
