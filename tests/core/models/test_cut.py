"""Parts of a batch have the views of the batch that is not cut, row by row, for every view generator that there is."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sensorium import Batch, View
from sensorium.errors import SensoriumError
from sensorium.models.cut import Cutter
from sensorium.models.learner import make_views, views_without_rows
from sensorium.seeding import generator
from sensorium.types import RankedValues, RecordBatch
from tests.golden import pairs

CUTS = [(0, 3, 8, 21), (0, 20, 48)]
"""Bounds of the parts, of which those of the first are shown repeatedly."""
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


@pytest.mark.parametrize("bounds", CUTS, ids=str)
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


def test_parts_that_lack_a_modality_draw_what_the_others_draw():
    """Rows are those of the records with the modality; a part without any leaves the generator where others do."""
    names, count = ("audio", "text", "timeseries"), 40
    generators = {
        "audio": built("audio", "plain"),
        "text": built("text", "noisy"),
        "timeseries": built("timeseries", "augment"),
    }
    batches = {n: pairs.fitted(n)[1].select(torch.arange(count) % pairs.BATCH) for n in names}
    has = {n: np.random.default_rng(i).random(count) < 0.7 for i, n in enumerate(names)}
    has["text"][25:] = False

    def part(first, stop):
        here = {n: mask[first:stop] for n, mask in has.items()}
        rows = {n: torch.from_numpy(np.flatnonzero(mask) + first) for n, mask in here.items()}
        made = {n: batches[n].select(rows[n]) for n in names if len(rows[n])}
        return RecordBatch([""] * (stop - first), made, {n: None if mask.all() else mask for n, mask in here.items()})

    absent = {
        n: views_without_rows(generators[n], batches[n].select(torch.tensor([0])), 0, torch.Generator()) for n in names
    }
    whole = views_of(part(0, count), generators, absent=absent)
    bounds = (0, 25, 40)
    parts = [part(a, b) for a, b in pairwise(bounds)]
    examples = {n: here.example for n, here in absent.items()}
    for first, views in zip(bounds, in_parts(parts, generators, absent=absent, examples=examples), strict=False):
        for name in names:
            before = int(has[name][:first].sum())
            for view, of_part in zip(whole[name], views[name], strict=True):
                assert_same_rows(view, of_part, before)
    assert len(views["text"][0]) == 0
    assert len(views["timeseries"][0])


def test_mined_negatives_are_cut_too():
    batch = pairs.fitted("text")[1].select(torch.arange(40) % pairs.BATCH)
    generators, has = {"text": built("text", "noisy")}, np.arange(40) % 3 != 0
    has[20:] = False

    def part(first, stop):
        here = has[first:stop]
        rows = torch.from_numpy(np.flatnonzero(here) + first)
        negatives = {"text": [RankedValues(batch.select(rows), here)]} if here.any() else {}
        return RecordBatch(
            [""] * (stop - first),
            {"text": batch.select(torch.arange(first, stop))},
            {"text": None},
            negatives=negatives,
        )

    absent = {"text": views_without_rows(generators["text"], batch, 1, torch.Generator())}
    whole = views_of(part(0, 40), generators, absent=absent)["text"]
    parts = [part(0, 20), part(20, 40)]
    for first, views in zip((0, 20), in_parts(parts, generators, {"text": 1}, absent), strict=True):
        for view, of_part in zip(whole, views["text"], strict=True):
            assert_same_rows(view, of_part, int(has[:first].sum()) if view.is_negative else first)
