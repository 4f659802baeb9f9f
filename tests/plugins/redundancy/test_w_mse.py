import pytest

from sensorium.optimizers.adamw import adamw
from tests.plugins.joint_embedding import learner_of, step, views_of


def cost(learner):
    return float(learner(views_of("w-mse", 32, seed=99, noise=1.0)).loss.detach())


@pytest.mark.parametrize("sign", [1, -1])
def test_training_brings_views_of_a_record_together_and_a_wrong_sign_apart(sign):
    learner = learner_of("w-mse")
    optimizer, before = adamw(learner, 3e-3, weight_decay=0.05), cost(learner)
    for number in range(40):
        step(learner, views_of("w-mse", 32, seed=number, noise=1.0), optimizer, number, steps=40, sign=sign)
    assert (cost(learner) < before) == (sign == 1)
