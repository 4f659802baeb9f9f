"""Vectors of one length: source, modality, encoder and views."""

from dataclasses import dataclass

import torch

from sensorium import BadSample, Batch, Encoder, Features, Modality, Record, Source, View, ViewGenerator


@dataclass
class VectorBatch(Batch):
    """Float vectors x (B, N)."""

    x: torch.Tensor


class Vector(Modality):
    """Vectors of `size` numbers.

    Args:
        size: length of the vectors.
    """

    def __init__(self, size: int = 4) -> None:
        self.size = size

    def decode(self, raw):
        try:
            x_N = torch.as_tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadSample(f"no numbers: {error}", "unsupported") from error
        if x_N.shape != (self.size,) or not x_N.isfinite().all():
            raise BadSample(f"it is not {self.size} finite numbers")
        return x_N

    def collate(self, examples):
        return VectorBatch(torch.stack(list(examples)))


class MLP(Encoder):
    """Multilayer perceptron with one hidden layer.

    Args:
        dim: width of the features.
    """

    def __init__(self, modality: Vector, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim
        self.net = torch.nn.Sequential(torch.nn.Linear(modality.size, dim), torch.nn.GELU(), torch.nn.Linear(dim, dim))

    def forward(self, batch):
        return Features(self.net(batch.x))


class Noise(ViewGenerator):
    """Two copies of each vector with additive Gaussian noise.

    Args:
        scale: standard deviation of the noise.
    """

    views = 2

    def __init__(self, modality: Vector, scale: float = 0.1) -> None:
        self.scale = scale

    def __call__(self, batch, rng):
        draws = (torch.randn(batch.x.shape, generator=rng, device=rng.device) for _ in range(self.views))
        return [View(VectorBatch(batch.x + self.scale * noise)) for noise in draws]


class Vectors(Source):
    """Vectors around two centers.

    Args:
        count: number of records.
    """

    fields = ("frozen",)

    def __init__(self, count: int = 40) -> None:
        self.count = count

    def __len__(self):
        return self.count

    def key(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return Record(id=str(index), values={}, labels={"side": ("left", "right")[index % 2]})

    def __getitem__(self, index):
        key, side = self.key(index), 1.0 if index % 2 else -1.0
        value = [side, -side, index % 7 / 7, index % 5 / 5]
        return Record(id=key.id, values={"frozen": value}, labels=key.labels)
