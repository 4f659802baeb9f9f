"""A modality, a source and a stage for the tests of the data floor: vectors written as numbers with spaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sensorium import BadSample, Batch, Modality, View, ViewGenerator
from sensorium.data.arrays import ArraysSource
from sensorium.data.cache import Cache, CachePlace, filled
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import Loader
from sensorium.data.unreadable import UnreadableRecords


@dataclass
class Vectors(Batch):
    """float32 (B, D)."""

    values: Tensor


class VectorModality(Modality):
    """Vectors out of text ("1 2 3") or bytes."""

    def decode(self, raw):
        text = raw.decode() if isinstance(raw, bytes) else raw
        try:
            return torch.tensor([float(word) for word in text.split()])
        except ValueError as error:
            raise BadSample(f"{text!r} is no vector") from error

    def collate(self, examples):
        return Vectors(torch.stack(list(examples)))


@dataclass
class Padded(Batch):
    """float (B, T) and lengths (B,): a batch that pads, and so trims what is selected from it."""

    values: Tensor
    lengths: Tensor

    def select(self, index):
        lengths = self.lengths[index]
        return Padded(self.values[index][:, : int(lengths.max())], lengths)

    @classmethod
    def cat(cls, batches):
        width = max(b.values.shape[1] for b in batches)
        padded = [torch.nn.functional.pad(b.values, (0, width - b.values.shape[1])) for b in batches]
        return cls(torch.cat(padded), torch.cat([b.lengths for b in batches]))

    def shape_key(self):
        return type(self)


class PaddedModality(VectorModality):
    """Vectors of any length."""

    def collate(self, examples):
        values = torch.nn.utils.rnn.pad_sequence(list(examples), batch_first=True)
        return Padded(values, torch.tensor([len(e) for e in examples]))


class FileModality(VectorModality):
    """Vectors out of files."""

    reads_files = True

    def decode(self, raw):
        with open(raw, "rb") as file:
            return super().decode(file.read())


class BrokenModality(VectorModality):
    """A third party's defect: it raises something else than BadSample on the vector of a 7."""

    def decode(self, raw):
        if raw.startswith("7 "):
            raise ZeroDivisionError("seven")
        return super().decode(raw)


class Jitter(ViewGenerator):
    """Adds noise before collation."""

    def stage(self, example, rng):
        return example + torch.rand(example.shape, generator=rng)

    def __call__(self, batch, rng):
        return [View(batch)]


class Plain(ViewGenerator):
    """Has no stage."""

    def __call__(self, batch, rng):
        return [View(batch)]


def numbers(count: int = 40) -> list[str]:
    """Return `count` texts that `VectorModality` reads, all different."""
    return [f"{i} {i * i}" for i in range(count)]


def loader(
    source: ArraysSource, positions=None, fields=None, modalities=None, max_bad: float = 0.5, **options
) -> Loader:
    """Return a loader of the field "x", or of `fields`, on one rank without workers unless told otherwise."""
    fields = {"x": "x"} if fields is None else fields
    modalities = {name: VectorModality() for name in fields} if modalities is None else modalities
    positions = range(len(source)) if positions is None else positions
    options = {"seed": 3, "batch": 8, "workers": 0, "bad": UnreadableRecords(len(source), max_bad), **options}
    return Loader(source, positions, fields, modalities, **options)


def cached(decoder: RecordDecoder, chunks, place: CachePlace | None = None) -> Cache:
    """Return a cache of the rows of some chunks, which are positions of the source too."""
    rows = np.concatenate(chunks)
    ids = decoder.source.columns().id_column(rows)

    def decode(chunks):
        return ((chunk, decoder[0, chunk]) for chunk in chunks)

    return filled(chunks, decode, rows, ids, place or CachePlace())


def same(a, b) -> bool:
    """Return whether two lists of record batches are equal to the last bit."""
    if len(a) != len(b):
        return False
    return all(
        x.ids == y.ids
        and x.batches.keys() == y.batches.keys()
        and all(torch.equal(x.batches[n].values, y.batches[n].values) for n in x.batches)
        and x.present.keys() == y.present.keys()
        and all(np.array_equal(x.present[n], y.present[n]) for n in x.present)
        and x.keys.keys() == y.keys.keys()
        and all(torch.equal(x.keys[n], y.keys[n]) for n in x.keys)
        for x, y in zip(a, b, strict=True)
    )


def flat(steps):
    """Return the micro-batches of all steps in one list."""
    return [micro for step in steps for micro in step]
