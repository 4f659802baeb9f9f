import pytest
import torch

from sensorium import losses
from sensorium.errors import SensoriumError
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.hardnegative.hn_clip import HNCLIP
from tests.plugins.crossmodal.test_align import PRESENT, joint, learner, views

PAIR = {name: PRESENT[name] for name in ("a", "b")}


def test_the_loss_is_that_of_the_pairs_there_are():
    model, given = learner(HNCLIP(alpha=0.5, beta=1.0), ("a", "b")), views(present=PAIR)
    both = PRESENT["a"] & PRESENT["b"]
    x, y = joint(model, given, "a")[both], joint(model, given, "b")[both]
    scale = model.objective.log_scale.exp().squeeze()
    found = model(given).loss
    assert torch.allclose(found, losses.hn_nce(x, y, scale, 0.5, 1.0), rtol=1e-12)
    assert not torch.allclose(found, losses.clip(x, y, scale), rtol=1e-2)


def test_without_hardness_it_is_clip():
    ours, clip = learner(HNCLIP(beta=0.0), ("a", "b")), learner(CLIP(), ("a", "b"))
    ours.load_state_dict(clip.state_dict())
    assert torch.allclose(ours(views(present=PAIR)).loss, clip(views(present=PAIR)).loss, rtol=1e-12)


def test_it_takes_two_modalities_and_holds_its_scale():
    with pytest.raises(SensoriumError, match="'clip' aligns two modalities"):
        learner(HNCLIP())
    objective = learner(HNCLIP(max_scale=20.0), ("a", "b")).objective
    objective.log_scale.data += 9
    objective.after_step(0.5)
    assert torch.allclose(objective.log_scale.exp(), torch.tensor(20.0, dtype=torch.float64))
