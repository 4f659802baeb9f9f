import torch

from sensorium.blocks.negatives import FeatureQueue
from sensorium.losses import NegativeRows, queue_info_nce
from sensorium.models.learner import _Encode
from sensorium.seeding import seed_globals
from tests.plugins.joint_embedding import learner_of, views_of


def momentum_encode(learner):
    return _Encode(learner.objective.teacher.encoders, {})


def test_the_queue_drops_the_oldest():
    queue = FeatureQueue(5, 2)
    random = queue.rows.clone()
    assert torch.allclose(random.norm(dim=1), torch.ones(5))

    def rows(*angles):
        angles = torch.tensor(angles)
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    queue.push(3 * rows(0.1, 0.2, 0.3))
    queue.commit()
    assert torch.allclose(queue.rows, torch.cat([rows(0.1, 0.2, 0.3), random[3:]]))
    assert queue.filled == 3 / 5
    queue.push(rows(0.4, 0.5, 0.6))
    queue.commit()
    assert torch.allclose(queue.rows, rows(0.6, 0.2, 0.3, 0.4, 0.5))
    assert queue.filled == 1
    queue.push(torch.cat([rows(9.0), rows(*(0.1 * n for n in range(1, 8)))]))  # more than it holds: the last remain
    queue.commit()
    assert torch.allclose(queue.rows, rows(0.4, 0.5, 0.6, 0.7, 0.3), atol=1e-6)


def test_is_equation_1_against_the_queue_as_it_was_before_the_step():
    learner, views = learner_of("moco", bn_splits=1), views_of("moco")
    objective, encoder, first, second = learner.objective, learner.encoders["a"], *views["a"]
    learner.eval()
    q = objective.project(encoder(first.batch).pooled)
    k = objective.keys(second, momentum_encode(learner))
    expected = queue_info_nce(q, k, [NegativeRows(objective.queue.rows)], 0.2)
    assert torch.allclose(learner(views).loss, expected)
    objective.queue.push(k, first.keys["record"] + 100)
    objective.queue.commit()
    assert not torch.allclose(learner(views).loss, expected, rtol=1e-3)


def test_keys_come_back_in_the_order_of_their_queries():
    learner, (_, second) = learner_of("moco", bn_splits=3).eval(), views_of("moco")["a"]
    teacher = learner.objective.teacher
    expected = teacher.heads["project"](teacher.encoders["a"](second.batch).pooled)
    for seed in range(3):
        seed_globals(seed)
        assert torch.allclose(learner.objective.keys(second, momentum_encode(learner)), expected, atol=1e-6)


def test_batch_statistics_of_keys_are_those_of_random_splits():
    """A split's statistics change with the records drawn into it; a single split has the whole batch's."""
    (_, second) = views_of("moco")["a"]
    difference = {}
    for splits in (1, 4):
        learner = learner_of("moco", bn_splits=splits)
        drawn = []
        for seed in range(3):
            seed_globals(seed)
            drawn.append(learner.objective.keys(second, momentum_encode(learner)))
        difference[splits] = (drawn[0] - drawn[1]).abs().max()
    assert difference[1] < 1e-5
    assert difference[4] > 1e-2


def test_training_queues_keys_that_carry_no_gradient():
    learner = learner_of("moco")
    before = learner.objective.queue.rows.clone()
    outcome = learner(views_of("moco", count=12))
    assert outcome.logs["memory/a"] == 12 / 40
    assert not learner.objective.queue.rows.requires_grad
    assert torch.equal(learner.objective.queue.rows[12:], before[12:])
    outcome.loss.backward()  # the loss still knows the queue that it was made with
    learner(views_of("moco", count=3))  # fewer records than splits
