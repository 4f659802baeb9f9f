import math

import torch

from sensorium.losses.sigreg import random_directions
from sensorium.plugins.predictive.lejepa import LeJEPA
from tests.core.losses.test_sigreg import reference as sigreg_reference
from tests.plugins.toy_token_modality import Sequences, learner_of, losses_while_training, sequences, view_of


def objective(**options):
    return LeJEPA(**{"width": 16, "dim": 4, "layers": 2, "directions": 8} | options)


def views_of(rows=8, count=4, dtype=torch.float32, noise=0.1):
    """Two views of whole records, and the rest of their first half."""
    x = sequences((12,) * rows, padded=False, dtype=dtype).x
    torch.manual_seed(0)
    views = [x if i < 2 else x[:, :6] for i in range(count)]
    return {"toy": [view_of(Sequences(v + noise * torch.randn(v.shape, dtype=dtype))) for v in views]}


def test_is_the_papers_algorithm_2():
    learner, views = learner_of(objective(sigreg_weight=0.3)).double().eval(), views_of(dtype=torch.float64)
    torch.manual_seed(1)
    outcome = learner(views)
    torch.manual_seed(1)
    directions = random_directions(4, 8, torch.device("cpu")).double()
    z = [learner.objective.project(learner.encoders["toy"](v.batch).pooled).detach() for v in views["toy"]]
    prediction, count = 0.0, 0
    for b in range(8):
        center = (z[0][b] + z[1][b]) / 2
        for view in z:
            prediction += float((view[b] - center).square().sum())
            count += 4
    gaussian = sum(sigreg_reference(view, directions) for view in z) / len(z)
    assert math.isclose(outcome.logs["prediction"], prediction / count, rel_tol=1e-9)
    assert math.isclose(outcome.logs["sigreg"], gaussian, rel_tol=1e-9)
    assert math.isclose(outcome.loss.detach(), 0.7 * prediction / count + 0.3 * gaussian, rel_tol=1e-9)


def test_global_views_predict_too_and_local_ones_are_not_in_the_mean():
    learner, views = learner_of(objective()).double().eval(), views_of(dtype=torch.float64)
    every = learner(views).logs["prediction"]
    z = [learner.objective.project(learner.encoders["toy"](v.batch).pooled) for v in views["toy"]]
    of_global, of_all = (z[0] + z[1]) / 2, sum(z) / 4
    local_only = torch.stack([(v - of_global).square().mean() for v in z[2:]]).mean()
    mean_of_all = torch.stack([(v - of_all).square().mean() for v in z]).mean()
    assert not torch.allclose(every, local_only, rtol=1e-3)
    assert not torch.allclose(every, mean_of_all, rtol=1e-3)


def std_after_training(weight):
    learner, views = learner_of(objective(sigreg_weight=weight)), views_of(16, noise=1.0)
    losses_while_training(learner, views, 60, 1e-2, same_draws=False)
    torch.manual_seed(0)
    outcome = learner(views)
    return outcome.features["projection"].std(0).mean(), outcome.loss


def test_without_sigreg_features_collapse_and_with_it_they_do_not():
    collapsed, _ = std_after_training(weight=0.0)
    kept, _ = std_after_training(weight=0.3)
    assert collapsed < 0.05 < 0.5 < kept


def test_a_few_steps_lower_the_loss_and_its_gradient_reaches_everything():
    found = losses_while_training(learner_of(objective()), views_of(), 40, 1e-2)
    assert found[-1] < 0.7 * found[0], found


def test_small_batches_bfloat16_and_state():
    learner, views = learner_of(objective()), views_of()
    learner(views_of(rows=2)).loss.backward()
    learner.eval()
    assert learner(views_of(rows=1)).loss.isfinite()
    other, found = learner_of(objective(), seed=1).eval(), []
    other.load_state_dict(learner.state_dict())
    for model, enabled in ((learner, False), (other, False), (other, True)):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(model(views).loss)
    assert torch.equal(found[0], found[1])
    assert found[2].dtype == torch.float32
    assert torch.allclose(found[1], found[2], rtol=0.05)
