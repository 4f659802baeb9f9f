"""Toy encoders and synthetic data with known structure, for checks of objectives and evaluators.

Letters: B records, T tokens, C channels, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import TokenEncoder, Tokens, ViewGenerator
from sensorium.feature_table import FeatureTable, Layer
from sensorium.types import Batch, Features, View


@dataclass
class ToyBatch(Batch):
    """Float records (B, T, C), every token valid."""

    x: Tensor


CHANNELS = 4


class ToyEncoder(TokenEncoder):
    """Causal MLP with mean pooling: a token sees itself and the mean of the tokens up to it."""

    is_causal = True

    def __init__(self, dim: int = 16, channels: int = CHANNELS) -> None:
        super().__init__()
        self.dim, self.target_dim = dim, channels
        self.embed = nn.Linear(channels, dim)
        self.mix = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def tokenize(self, batch: ToyBatch) -> Tokens:
        """Embed each row of T as one token."""
        x_BTD = self.embed(batch.x)
        steps = torch.linspace(-1, 1, batch.x.shape[1], device=batch.x.device, dtype=x_BTD.dtype)
        return Tokens(x_BTD, steps[None, :, None].expand(1, -1, self.dim))

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode all tokens, or the kept ones."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, valid_BT1 = tokens.x + tokens.positions, tokens.valid()[..., None]
        x_BTD = x_BTD + self.mix(x_BTD + (x_BTD * valid_BT1).cumsum(1) / valid_BT1.cumsum(1).clamp(min=1))
        pooled_BD = (x_BTD * valid_BT1).sum(1) / valid_BT1.sum(1).clamp(min=1)
        return Features(pooled_BD, x_BTD * valid_BT1, tokens.mask)

    def token_targets(self, batch: ToyBatch) -> Tensor:
        """Return the records as they are."""
        return batch.x


class ToyWordEncoder(ToyEncoder):
    """The same with class ids as token targets: the index of a token's largest channel."""

    def token_targets(self, batch: ToyBatch) -> Tensor:
        """Return the index of each token's largest channel, int64 (B, T)."""
        return batch.x.argmax(-1)


class ToyGridEncoder(ToyEncoder):
    """The same with 16 tokens on a grid of 4 x 4, none of which comes before another."""

    grid = (4, 4)
    is_causal = False


def toy_records(count: int, rng: torch.Generator, tokens: int = 8, channels: int = CHANNELS) -> Tensor:
    """Return (count, T, C) records, each with a random mean."""
    level = torch.randn(count, 1, channels, generator=rng)
    return 2 * level + 0.5 * torch.randn(count, tokens, channels, generator=rng)


def toy_views(x_BTC: Tensor, count: int, rng: torch.Generator, modality: str, short: int = 0) -> list[View]:
    """Return `count` noisy views of records, and `short` more that have only the first half of the tokens."""
    views = []
    for number in range(count + short):
        part = x_BTC if number < count else x_BTC[:, : x_BTC.shape[1] // 2]
        batch = ToyBatch(part + 0.1 * torch.randn(part.shape, generator=rng, device=part.device))
        record = torch.arange(len(x_BTC), device=part.device)
        views.append(View(batch, modality=modality, keys={"record": record, "group": record}))
    return views


def toy_classes(x_BTC: Tensor) -> Tensor:
    """Return a class of each record, int64 (B,), in 0 to C - 1: the index of its largest channel."""
    return x_BTC.mean(1).argmax(1)


class ToyViews(ViewGenerator):
    """Makes `toy_views` of toy batches.

    Args:
        modality: name of the modality.
        views: number of views.
        short: number of further views, of the first half of the tokens.
        classified: give each record its class as the target of its views.
    """

    def __init__(self, modality: str, views: int, short: int = 0, classified: bool = False) -> None:
        self.modality, self.views, self.short, self.classified = modality, views + short, short, classified

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return noisy views."""
        assert isinstance(batch, ToyBatch)
        views = toy_views(batch.x, self.views - self.short, rng, self.modality, self.short)
        return [replace(view, target=toy_classes(batch.x)) for view in views] if self.classified else views


CLASSES = ("planted-a", "planted-b")
LEVEL = 3.0
"""The mean of the first class along the first axis is -LEVEL, that of the second +LEVEL."""


def synthetic_embed(**raws: Sequence[object]) -> dict[str, Tensor]:
    """Return embeddings (N, 16) of raw values: a value that names a planted class has the mean of the class."""

    def row(value: object) -> Tensor:
        x_D = torch.full((16,), 0.1)
        x_D[0] = LEVEL * ((CLASSES[1] in str(value)) - (CLASSES[0] in str(value)))
        return x_D

    return {name: torch.stack([row(value) for value in values]) for name, values in raws.items()}


def synthetic_tables(width: int = 16, space: str = "features") -> Iterator[tuple[str, FeatureTable, FeatureTable]]:
    """Iterate over planted relations: a description, a train table and a test table of features of some width.

    In the space "layers" it is the second of three layers that tells, in "tokens" one of two to four tokens.
    """
    spread = {"layers": _as_layers, "tokens": _as_tokens}.get(space, lambda table, rng: table)
    for what in ("two classes", "a number", "pairs", "graded pairs", "likelihoods"):
        rng = np.random.default_rng(0)
        train, test = _planted(what, 160, "train", rng, width), _planted(what, 80, "test", rng, width)
        own = np.random.default_rng(1)
        yield what, spread(train, own), spread(test, own)


def _as_layers(table: FeatureTable, rng: np.random.Generator) -> FeatureTable:
    """Return a table whose features are those of the second of three layers; the last one is narrower."""
    features = {}
    for name, x_ND in table.features.items():
        features[name] = rng.normal(size=(len(x_ND), 3, x_ND.shape[1])).astype(np.float32)
        features[name][:, 1] = x_ND
        features[name][:, 2, 1:] = np.nan
    return replace(table, features=features, layers={name: tuple(map(Layer, (1, 2, 3))) for name in features})


def _as_tokens(table: FeatureTable, rng: np.random.Generator) -> FeatureTable:
    """Return a table whose features are one token of each record, the others noise; nan where a record has fewer."""
    features, count = {}, len(table)
    lengths_N = rng.integers(2, 5, count)
    for name, x_ND in table.features.items():
        x_NTD = 0.1 * rng.normal(size=(count, 4, x_ND.shape[1]))
        x_NTD[np.arange(count), rng.integers(0, lengths_N)] = x_ND
        x_NTD[np.arange(4) >= lengths_N[:, None]] = np.nan
        features[name] = x_NTD.astype(np.float16)
    return replace(table, features=features)


def _planted(what: str, count: int, part: str, rng: np.random.Generator, width: int) -> FeatureTable:
    x_ND = rng.normal(size=(count, width)).astype(np.float32)
    features, labels = {"first": x_ND}, {}
    if what == "two classes":
        kind = rng.permutation(np.arange(count) % 2)
        x_ND[:, 0] += 2 * LEVEL * kind - LEVEL
        labels["planted"] = np.array(CLASSES, dtype=object)[kind]
    elif what == "likelihoods":
        tokens_N1 = rng.integers(3, 9, (count, 1)).astype(np.float32)
        features = {"nats": 1.0 * tokens_N1, "tokens": tokens_N1, "uniform": 2.0 * tokens_N1}
    elif what == "a number":
        labels["planted"] = np.round(x_ND[:, 0] - x_ND[:, 1]).astype(np.float64)
    else:
        if what == "pairs":
            kind = rng.permutation(np.arange(count) % 2)
            x_ND[:, 0] += 2 * LEVEL * kind - LEVEL
            labels["planted"] = np.array(CLASSES, dtype=object)[kind]
        noise = np.linspace(0.05, 3, count)[:, None] if what == "graded pairs" else 0.05
        features["second"] = (x_ND + noise * rng.normal(size=x_ND.shape)).astype(np.float32)
        if what == "graded pairs":
            labels["planted"] = -np.linspace(0.05, 3, count)
    ids = [f"{part}-{n}" for n in range(count)]
    present = {name: np.ones(count, bool) for name in features}
    return FeatureTable(ids, features, present, labels, list(ids))
