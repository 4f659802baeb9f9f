"""Parts of a batch have the views of the batch that is not cut, row by row, for every view generator that there is."""

from itertools import pairwise

import pytest
import torch

from sensorium import Batch, View
from sensorium.errors import SensoriumError
from sensorium.models.cut import Cutter
from sensorium.models.learner import make_views
from sensorium.seeding import generator
from sensorium.types import RecordBatch
from tests.golden import pairs

CUTS = [(0, 3, 8, 21), (0, 20, 48), (0, 48)]
"""Bounds of the parts, of which small ones are shown repeatedly; the last has parts of no rows behind it."""
MIXES = {
    "audio-spectrogram": "mixes in another clip",
    "graph-feature-shuffling": "shuffles nodes over the graphs of a batch",
    "graph-ppr-diffusion": "draws nothing, and picks among equal ranks by the size of the largest graph",
    "molecule-ppr-diffusion": "draws nothing, and picks among equal ranks by the size of the largest graph",
    "molecule-feature-shuffling": "shuffles nodes over the graphs of a batch",
    "text-hard-negative-captions": "replaces a token with one of another text",
}
"""View generators that make views of several records, and why: a part has only its own."""


def kinds():
    """Return the modality and the name of every view generator."""
    specs, known = pairs.registry().specs("views"), pairs.modalities()
    return [
        pytest.param(spec.modality, spec.name, id=f"{spec.modality}-{spec.name}")
        for spec in specs
        if spec.modality in known and not spec.missing_packages()
    ]


def built(modality, name):
    try:
        return pairs.registry().find("views", name, modality).load()(pairs.fitted(modality)[0])
    except SensoriumError as error:
        pytest.skip(str(error))


def records_of(batch: Batch, modality: str) -> RecordBatch:
    return RecordBatch([""] * len(batch), {modality: batch}, {modality: None})


def views_of(records, generators, cut=None, absent=None):
    return make_views(records, generators, generator(0, "views", 0, 0, 0), absent, cut)


def in_parts(parts, generators, mined=None, absent=None, examples=None):
    """Return the views of parts, each of a rank of its own, which know of the others what ranks exchange."""
    examples = examples or {name: next(p.batches[name] for p in parts if name in p.batches) for name in generators}
    cutter = Cutter(examples, mined or {})
    sizes = [cutter.sizes([part]) for part in parts]
    return [views_of(part, generators, cutter.cuts_of(sizes, rank, 1)[0], absent) for rank, part in enumerate(parts)]


def rows_of(view: View, rows: torch.Tensor) -> dict:
    batch = view.batch.select(rows)
    more = {"target": view.target, **view.info}
    return {**batch.tensors(), **{name: x[rows] for name, x in more.items() if x is not None}}


def assert_same_rows(whole: View, part: View, first: int):
    """Compare rows up to the columns that only one of them is padded to."""
    rows = torch.arange(len(part))
    mine, other = rows_of(part, rows), rows_of(whole, rows + first)
    for name, x in mine.items():
        y = other[name]
        for axis in range(1, x.ndim):
            common = min(x.shape[axis], y.shape[axis])
            x, y = x.narrow(axis, 0, common), y.narrow(axis, 0, common)
        assert x.dtype == y.dtype
        assert torch.allclose(x.double(), y.double(), rtol=0, atol=1e-6), (
            name
        )  # sums of other orders are rounded otherwise


@pytest.mark.parametrize("bounds", CUTS[:2], ids=str)
@pytest.mark.parametrize(("modality", "name"), kinds())
def test_parts_have_the_views_of_the_whole_batch(modality, name, bounds):
    if f"{modality}-{name}" in MIXES:
        pytest.skip(MIXES[f"{modality}-{name}"])
    batch, count = pairs.fitted(modality)[1], bounds[-1]
    batch = batch.select(torch.arange(count) % len(batch))
    generators = {modality: built(modality, name)}
    whole = views_of(records_of(batch, modality), generators)[modality]
    parts = [records_of(batch.select(torch.arange(a, b)), modality) for a, b in pairwise(bounds)]
    for first, part in zip(bounds, in_parts(parts, generators), strict=False):
        for view, of_part in zip(whole, part[modality], strict=True):
            assert_same_rows(view, of_part, first)
