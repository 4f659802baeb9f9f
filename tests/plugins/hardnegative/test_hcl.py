import torch

from sensorium import losses
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.plugins.hardnegative.hcl import HCL
from sensorium.types import View
from tests import toys
from tests.plugins.crossmodal.test_align import learner


def views():
    rng = torch.Generator().manual_seed(0)
    first = torch.randn(12, 8, generator=rng, dtype=torch.float64)
    near = first + 0.3 * torch.randn(12, 8, generator=rng, dtype=torch.float64)
    everyone = torch.ones(12, dtype=torch.bool)
    return {"a": [View(toys.VectorBatch(t), modality="a", present=everyone) for t in (first, near)]}


def test_the_loss_is_that_of_the_projections():
    model, given = learner(HCL(temperature=0.3, beta=0.5, prior=0.05, width=16, dim=8), ["a"]), views()
    outcome = model(given)
    z1, z2 = (model.objective.project(model.encoders["a"].net(v.batch.values)) for v in given["a"])
    assert torch.allclose(outcome.loss, losses.hcl(z1, z2, 0.3, 0.5, 0.05), rtol=1e-12)
    assert torch.equal(outcome.features["projection"], z1)


def test_without_hardness_and_prior_it_is_simclr():
    ours = learner(HCL(0.2, beta=0.0, prior=0.0, width=16, dim=8), ["a"])
    simclr = learner(SimCLR(0.2, width=16, dim=8), ["a"])
    ours.load_state_dict(simclr.state_dict())
    assert torch.allclose(ours(views()).loss, simclr(views()).loss, rtol=1e-12)
    harder = learner(HCL(0.2, beta=2.0, prior=0.0, width=16, dim=8), ["a"])
    harder.load_state_dict(simclr.state_dict())
    assert harder(views()).loss > 1.01 * simclr(views()).loss
