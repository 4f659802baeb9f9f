"""Encoders with 2-D convolutions give the same features and gradients whatever the layout of their weights."""

import copy

import pytest
import torch

from sensorium.errors import SensoriumError
from sensorium.modalities.image.encoders.cnn import CNN
from sensorium.models.learner import Learner
from sensorium.plugins.distillation.byol import BYOL
from sensorium.training.setup import use_channels_last
from tests.golden.pairs import fitted, modalities, registry, small


def convolutional():
    """Return the names of modalities and encoders that can be built small and have weights of four axes."""
    found = []
    for name in modalities():
        for spec in registry().specs("encoders"):
            if spec.modality == name and not spec.missing_packages() and small(spec.load(), skip=1):
                try:
                    weights = built(name, spec.name).parameters()
                except (SensoriumError, TypeError):
                    continue
                if any(weight.ndim == 4 for weight in weights):
                    found.append((name, spec.name))
    return found


def built(name, encoder):
    torch.manual_seed(0)
    cls = registry().find("encoders", encoder, name).load()
    return cls(fitted(name)[0], **small(cls, skip=1))


@pytest.mark.parametrize(("name", "encoder"), convolutional())
def test_features_and_gradients_do_not_depend_on_the_layout(name, encoder):
    plain, batch = built(name, encoder).train(), fitted(name)[1]
    other = copy.deepcopy(plain)
    use_channels_last(other, on_cuda=True)
    assert not all(weight.is_contiguous() for weight in other.parameters())
    pooled = []
    for module in (plain, other):
        torch.manual_seed(1)  # of dropout
        pooled.append(module(batch).pooled)
    for z_BD in pooled:
        z_BD.square().sum().backward()
    torch.testing.assert_close(*pooled, rtol=1e-4, atol=1e-4)
    for first, second in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-3, atol=1e-5)


def test_on_a_cpu_encoders_choose_it_and_their_teachers_follow():
    chosen = Learner({"image": CNN(fitted("image")[0], width=4, depth=2)}, BYOL(width=8, dim=4))
    use_channels_last(chosen, on_cuda=False)
    weights = {name: weight for name, weight in chosen.named_parameters() if weight.ndim == 4}
    assert len(weights) == 4, "two convolutions, and those of the teacher"
    assert not any(weight.is_contiguous() for weight in weights.values())
    audio = Learner({"audio": built("audio", "conv")}, BYOL(width=8, dim=4))
    use_channels_last(audio, on_cuda=False)
    assert all(weight.is_contiguous() for weight in audio.parameters())
