import torch

from sensorium import losses
from tests.plugins.joint_embedding import learner_of, views_of


def test_is_the_decoupled_loss_of_projections():
    learner, views = learner_of("decoupled").eval(), views_of("decoupled")
    with torch.no_grad():
        z = [learner.objective.project(learner.encoders["a"](v.batch).pooled) for v in views["a"]]
        loss = learner(views).loss
    temperature = learner.objective.temperature
    assert torch.allclose(loss, losses.decoupled(*z, temperature))
    assert not torch.allclose(loss, losses.nt_xent(*z, temperature), rtol=1e-3)
