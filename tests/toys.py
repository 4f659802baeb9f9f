"""A plugin for tests: number vectors as a modality, small enough that a training takes a second."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import sensorium
from sensorium import (
    BadSample,
    Batch,
    Callback,
    Encoder,
    Features,
    LayerStack,
    Modality,
    Needs,
    Objective,
    Outcome,
    TokenEncoder,
    Tokens,
    View,
    ViewGenerator,
    collectives,
    hookimpl,
    losses,
)
from sensorium.data.arrays import ArraysSource
from sensorium.registration.discovery import load_extensions


@dataclass
class VectorBatch(Batch):
    """float32 (B, D)."""

    values: Tensor


class VectorModality(Modality):
    """Vectors written as numbers with spaces; learns the mean of the train part.

    Args:
        width: numbers in a vector.
    """

    def __init__(self, width: int = 8) -> None:
        self.width, self.mean = width, None

    def decode(self, raw):
        try:
            values = np.array([float(w) for w in raw.split()], dtype=np.float32)
        except (ValueError, AttributeError) as error:
            raise BadSample(f"not numbers: {raw!r}") from error
        if len(values) != self.width:
            raise BadSample(f"{len(values)} numbers, not {self.width}")
        return values - np.float32(self.mean)

    def collate(self, examples):
        return VectorBatch(torch.from_numpy(np.stack(examples)))

    @property
    def is_fitted(self):
        return self.mean is not None

    def fit(self, raws):
        self.mean = float(np.mean([float(w) for raw in raws for w in raw.split() if w[-1].isdigit()]))

    def state(self):
        return {"mean": self.mean}

    def load_state(self, state):
        self.mean = state.get("mean")

    def preview(self, example):
        return Image.new("RGB", (16, 16), (int(abs(float(example[0])) * 50) % 256, 0, 0))

    def examples(self, batch):
        return list(batch.values.cpu().numpy())

    def baseline_features(self, batch):
        return batch.values.cpu().numpy()

    @property
    def descriptor_names(self):
        return "sum", "largest"

    def descriptors(self, example):
        return np.array([example.sum(), np.nan if example[0] > 3 else example.max()])


class Noise(ViewGenerator):
    """Views with noise added.

    Args:
        modality: not used.
        views: how many.
        strength: deviation of the noise.
    """

    views = 2

    def __init__(self, modality, views: int = 2, strength: float = 0.1) -> None:
        self.views, self.strength = views, strength

    def __call__(self, batch, rng):
        x = batch.values
        noise = [torch.randn(x.shape, generator=rng, device=x.device) * self.strength for _ in range(self.views)]
        return [View(VectorBatch(x + n)) for n in noise]


class MLP(Encoder):
    """Two linear maps with dropout and batch norm between.

    Args:
        modality: gives the width of vectors.
        dim: width of features.
        dropout: share of units dropped.
    """

    def __init__(self, modality, dim: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.dim = dim
        self.net = nn.Sequential(
            nn.Linear(modality.width, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, dim)
        )

    def forward(self, batch):
        return Features(self.net(batch.values))


class Residual(nn.Module):
    """A residual block on tokens, which returns them in a tuple."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, dim)

    def forward(self, x):
        return x + self.map(x).tanh(), None


class Numbers(TokenEncoder):
    """Each number is a token, behind a class token; a record has as many as its first number says, 2 to `width`.

    Args:
        modality: gives the width of vectors.
        dim: width of tokens.
        depth: number of blocks.
    """

    def __init__(self, modality, dim: int = 12, depth: int = 2) -> None:
        super().__init__()
        self.dim, self.target_dim, self.width = dim, 1, modality.width
        self.embed, self.cls = nn.Linear(1, dim), nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, modality.width, dim))
        self.blocks = nn.ModuleList(Residual(dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def tokenize(self, batch):
        count = 2 + (batch.values[:, 0].abs().int() % (self.width - 1))
        longest = int(count.max()) if len(count) else self.width
        mask = torch.arange(longest, device=batch.device) < count[:, None]
        return Tokens(self.embed(batch.values[:, :longest, None]), self.positions[:, :longest], mask)

    def encode_tokens(self, tokens, keep=None):
        tokens = tokens if keep is None else tokens.take(keep)
        x = torch.cat([self.cls.expand(len(tokens.x), -1, -1), tokens.x + tokens.positions], 1)
        for block in self.blocks:
            x, _ = block(x)
        x = self.norm(x)
        weight = tokens.mask[..., None] / tokens.mask.sum(1, keepdim=True).clamp(min=1)[..., None]
        return Features((x[:, 1:] * weight).sum(1) + x[:, 0], x[:, 1:], tokens.mask)

    def token_targets(self, batch):
        return batch.values[..., None]

    def layer_stack(self):
        return LayerStack(self.blocks, [self.norm], self.norm, prefix=1)


class Queue(Objective):
    """Contrast against a queue: state beyond the weights, which a resumed run must bring back."""

    needs = Needs(views=2)

    def build(self, encoders):
        self.register_buffer("queue", torch.zeros(32, encoders.single.dim))

    def forward(self, views, encode):
        f1, f2 = encode(views)
        new_MD, _ = collectives.all_gather(f2.pooled.detach())  # the same queue on every rank
        self.queue = torch.cat([new_MD, self.queue])[:32]
        return Outcome(losses.nt_xent(f1.pooled, f2.pooled, 0.5) + 0.1 * (f1.pooled @ self.queue.T).square().mean())


class Sums(Objective):
    """Regression of the first descriptor, standardized by what it learns from the train part."""

    needs = Needs(views=1, modalities="any", descriptors=True)
    fits = 40

    def build(self, encoders):
        self.heads = nn.ModuleDict({name: nn.Linear(encoder.dim, 1) for name, encoder in encoders.items()})
        self.register_buffer("statistics", torch.zeros(len(encoders), 2))
        self.shown = []

    def fit(self, batches, encode):
        columns = {name: [] for name in self.heads}
        for views in batches:
            self.shown.append({name: view.info["descriptors"] for name, (view,) in views.items()})
            for name, (view,) in views.items():
                columns[name].append(view.info["descriptors"][:, 0])
        self.statistics.copy_(
            torch.stack([torch.stack([torch.cat(x).mean(), torch.cat(x).std()]) for x in columns.values()])
        )

    def forward(self, views, encode):
        loss = 0.0
        for (mean, std), (name, (view,)) in zip(self.statistics, views.items(), strict=True):
            (features,) = encode([view])
            target_B = (view.info["descriptors"][:, 0] - mean) / std
            mask_BT = torch.ones_like(target_B, dtype=torch.bool)[:, None]
            loss = loss + losses.masked_regression(
                self.heads[name](features.pooled)[:, None], target_B[:, None, None], mask_BT
            )
        return Outcome(loss)


class Mimic(Objective):
    """Predicts the features of a frozen teacher."""

    needs = Needs(teacher=True)

    def build(self, encoders):
        self.teachers = encoders.teachers
        (teacher,) = encoders.teachers.values()
        self.head = nn.Linear(encoders.single.dim, teacher.dim)

    def forward(self, views, encode):
        (features,) = encode(views)
        with torch.no_grad():
            (taught,) = encode.using(self.teachers)(views)
        return Outcome((self.head(features.pooled) - taught.pooled).square().mean())


@hookimpl
def sensorium_register_modalities(register):
    register("vector", "tests.toys:VectorModality", summary="number vectors")


@hookimpl
def sensorium_register_views(register):
    register("noise", "tests.toys:Noise", modality="vector", summary="add noise")


@hookimpl
def sensorium_register_encoders(register):
    register("mlp", "tests.toys:MLP", modality="vector", summary="two linear maps")
    register("numbers", "tests.toys:Numbers", modality="vector", summary="each number is a token")


class Finisher(Callback):
    """Finishes the training on one rank.

    Args:
        rank: which asks.
        step: after which it asks.
    """

    def __init__(self, rank: int = 0, step: int = 1) -> None:
        self.rank, self.step = rank, step

    def after_step(self, training, outcome, loss):
        if (training.rank, training.step) == (self.rank, self.step):
            training.finish(f"rank {self.rank} is done")


@hookimpl
def sensorium_register_callbacks(register):
    register("finisher", "tests.toys:Finisher", summary="finishes on one rank")


@hookimpl
def sensorium_register_objectives(register):
    register("queue", "tests.toys:Queue", summary="contrast against a queue")
    register("sums", "tests.toys:Sums", summary="regression of the first descriptor")
    register("mimic", "tests.toys:Mimic", summary="predict a frozen teacher")


def extensions():
    """The built-in plugins and this one."""
    return load_extensions(environ={}, found=[EntryPoint("toys", "tests.toys", "sensorium")])


def vectors(count=96, width=8, seed=0, missing=0.0, endless=()):
    """Pairs of vectors, the second a fixed rotation of the first, in four classes; `endless` ones are infinite."""
    rng = np.random.default_rng(seed)
    centers = 2 * rng.standard_normal((4, width))
    classes = rng.integers(0, 4, count)
    a = centers[classes] + rng.standard_normal((count, width))
    b = a @ np.linalg.qr(rng.standard_normal((width, width)))[0]

    def written(row):
        return " ".join(f"{value:.5f}" for value in row)

    a[list(endless)] = np.inf
    values = {"a": [written(r) for r in a], "b": [None if rng.random() < missing else written(r) for r in b]}
    return ArraysSource(values, labels={"class": classes.tolist()})


def recipe(**changes):
    """A recipe of one modality that trains in a second."""
    tower = {"modality": "vector", "field": "a", "views": "noise", "encoder": "mlp"}
    base = {
        "name": "toy",
        "data": {"batch": 16, "workers": 0, "val": 0.15, "test": 0.15, "max_bad": 0.05},
        "modalities": {"a": tower},
        "objective": {"name": "simclr", "width": 32, "dim": 8},
        "train": {"epochs": 3, "accelerator": "cpu"},
        "log": {"every": 1, "loggers": {}},
    }
    return base | changes


def pair_recipe(**changes):
    """A recipe of two modalities."""
    plain = {"views": {"name": "noise", "views": 1, "strength": 0.0}, "encoder": {"name": "mlp", "dropout": 0.0}}
    towers = {name: {"modality": "vector", **plain} for name in ("a", "b")}
    return recipe(modalities=towers, objective={"name": "clip", "dim": 8}, **changes)


def incomplete_pairs():
    """Records of which some lack one of the two modalities."""
    return vectors(count=120, missing=0.2)


def train_pairs(folder, **changes):
    """Train for some steps on pairs, some incomplete; returns the run folder."""
    pairs = pair_recipe(evaluate={"batch": 8, "evaluators": {}}) | {"train": {"steps": 4, "accelerator": "cpu"}}
    pairs |= changes
    sensorium.fit(pairs, source=incomplete_pairs(), run_dir=folder, extensions=extensions())
    return folder
