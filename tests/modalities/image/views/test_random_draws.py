"""Random draws of augmentation parameters."""

import torch

from sensorium.modalities.image.views.random_draws import bernoulli, host_generator, permutations, uniform


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class FarGenerator:
    """Emulates a generator on another device: its state is on the host, and it advances when drawn from."""

    device = torch.device("meta")

    def __init__(self, state: int) -> None:
        self.state = torch.tensor([state], dtype=torch.uint8)

    def get_state(self) -> torch.Tensor:
        return self.state


def test_a_cpu_generator_is_returned_as_it_is():
    generator = rng()
    assert host_generator(generator) is generator


def test_a_device_generator_seeds_the_host_generator_and_advances(monkeypatch):
    moved = []
    monkeypatch.setattr(torch, "rand", lambda *size, generator, device: moved.append(generator))
    far = FarGenerator(1)
    seeds = {
        host_generator(far).initial_seed(),
        host_generator(FarGenerator(1)).initial_seed(),
        host_generator(FarGenerator(2)).initial_seed(),
    }
    assert len(seeds) == 2
    assert moved[0] is far


def test_draws_have_their_distributions():
    assert abs(bernoulli(10000, 0.3, rng()).float().mean() - 0.3) < 0.02
    assert not bernoulli(100, 0.0, rng()).any()
    assert bernoulli(100, 1.0, rng()).all()
    numbers = uniform(1000, -2, 5, rng())
    assert -2 <= numbers.min() < -1.9
    assert 4.9 < numbers.max() < 5
    orders = permutations(500, 4, rng())
    assert (orders.sort(1).values == torch.arange(4)).all()
    assert len(orders.unique(dim=0)) == 24
