import torch

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def test_is_the_loss_of_projections_that_no_batch_norm_follows():
    learner, views = learner_of("barlow-twins", redundancy=0.1).eval(), views_of("barlow-twins")
    with torch.no_grad():
        z = [learner.objective.project(learner.encoders["a"](v.batch).pooled) for v in views["a"]]
        assert torch.allclose(learner(views).loss, losses.barlow_twins(*z, 0.1))
    assert isinstance(learner.objective.project[-1], torch.nn.Linear)


def test_training_brings_the_correlation_near_the_identity():
    learner = learner_of("barlow-twins", dim=4)
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    for number in range(60):
        outcome = learner(views_of("barlow-twins", 32, seed=number))
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
    z = outcome.features["projection"]
    assert torch.corrcoef(z.T).fill_diagonal_(0).abs().max() < 0.9
    assert outcome.loss < 1
