import random

import numpy as np
import torch

from sensorium.seeding import RowStreams, generator, host_generator, seed_globals, seed_of, uniform_of


def test_seeds_are_the_same_everywhere_and_depend_on_every_name():
    assert seed_of(0, "step", 3) == 3296300929890211546
    names = [(0, 1, 2), (1, 0, 2), (0, 12), (0, 1, "2", ""), ("0", 1, 2, 0)]
    assert len({seed_of(*name) for name in names}) == len(names)
    assert all(0 <= seed_of(i) < 2**63 for i in range(100))


def test_shares_are_even():
    shares = np.array([uniform_of("split", i) for i in range(4000)])
    assert shares.min() >= 0
    assert shares.max() < 1
    assert np.histogram(shares, bins=10, range=(0, 1))[0].min() > 320


def test_generators_and_globals_follow_their_names():
    draws = [torch.rand(3, generator=generator(7, "views", step)) for step in (0, 1, 0)]
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])

    def drawn():
        return torch.rand(1).item(), np.random.rand(), random.random()

    seed_globals(3, 4)
    first = drawn()
    seed_globals(3, 5)
    assert drawn() != first
    seed_globals(3, 4)
    assert drawn() == first


class FarGenerator:
    """Emulates a generator on another device: its state is on the host, and it advances when drawn from."""

    device = torch.device("meta")

    def __init__(self, state: int) -> None:
        self.state = torch.tensor([state], dtype=torch.uint8)

    def get_state(self) -> torch.Tensor:
        return self.state


def test_a_cpu_generator_is_returned_as_it_is():
    rng = generator("host")
    assert host_generator(rng) is rng


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


def test_a_row_draws_the_same_whatever_rows_are_beside_it():
    def streams(rows=6):
        return RowStreams(rows, torch.Generator().manual_seed(5))

    one = streams()
    first, second = one.rand(torch.tensor([0, 0, 2, 2, 2, 5])), one.rand(torch.tensor([0, 1, 1, 2]))
    other = streams().select(torch.tensor([2, 5]))
    assert torch.equal(other.rand(torch.tensor([0, 0, 0])), first[2:5])
    assert torch.equal(other.rand(torch.tensor([0, 1])), torch.stack([second[3], first[5]]))


def test_streams_of_rows_are_uniform_and_independent():
    made = RowStreams(2000, torch.Generator().manual_seed(0)).rand(torch.arange(2000).repeat_interleave(20))
    x = made.view(2000, 20)
    assert made.min() >= 0
    assert made.max() < 1
    assert abs(float(made.mean()) - 0.5) < 0.01
    assert torch.corrcoef(x.T).fill_diagonal_(0).abs().max() < 0.1
    assert torch.corrcoef(x[:200]).fill_diagonal_(0).abs().mean() < 0.25
