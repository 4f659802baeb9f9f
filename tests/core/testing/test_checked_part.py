"""What a check works on is built from the options that a plugin declares."""

from dataclasses import dataclass

import torch
from torch import nn

from sensorium import Batch, Encoder, Features, Modality
from sensorium.registration.registry import Registry, Spec
from sensorium.testing.checked_part import CheckedPart


@dataclass
class Rows(Batch):
    x: torch.Tensor


class Scaled(Modality):
    """Single numbers.

    Args:
        scale: what they are multiplied with.
    """

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def decode(self, raw):
        return torch.tensor([self.scale * raw])

    def collate(self, examples):
        return Rows(torch.stack(examples))


class Linear(Encoder):
    """A linear map.

    Args:
        dim: width of the features.
    """

    def __init__(self, modality: Scaled, dim: int = 2):
        super().__init__()
        self.dim, self.scale, self.map = dim, modality.scale, nn.Linear(1, dim)

    def forward(self, batch):
        return Features(self.map(batch.x))


def checked(options):
    registry = Registry()
    registry.add([Spec("modalities", "scaled", f"{__name__}:Scaled", "", "made", "made")])
    registry.add([Spec("encoders", "map", f"{__name__}:Linear", "", "made", "made", modality="scaled")])
    return CheckedPart(registry.find("encoders", "map", "scaled"), registry, {"scaled": [1.0, 2.0]}, options)


def test_an_encoder_may_name_options_of_the_modality_that_it_is_tried_on():
    made = checked({"modalities/scaled": {"scale": 2.0}, "encoders/map": {"dim": 3, "modality": {"scale": 5.0}}})
    assert (made.new_encoder().dim, made.new_encoder().scale) == (3, 5.0)
    assert made.examples()[1].item() == 10.0
    made.has_samples_and_options()


def test_without_them_the_modalitys_own_options_hold():
    made = checked({"modalities/scaled": {"scale": 2.0}})
    assert (made.new_encoder().dim, made.new_encoder().scale) == (2, 2.0)


@dataclass(frozen=True)
class Noise:
    """Noise.

    Args:
        scale: its standard deviation.
    """

    scale: float = 0.0


class Noisy(Linear):
    """A linear map and noise.

    Args:
        noise: what is added.
    """

    def __init__(self, modality: Scaled, noise: Noise | None = None):
        super().__init__(modality)
        self.noise = noise


def test_groups_of_options_are_given_to_the_constructor_as_a_recipe_gives_them():
    part = checked({"encoders/noisy": {"noise": {"scale": 2.0}}})
    spec = Spec("encoders", "noisy", f"{__name__}:Noisy", "made", "p", "d", "numbers")
    assert part.options_of(spec)["noise"] == Noise(2.0)
