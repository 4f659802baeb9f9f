"""The same batches and the same views on 1, 2 and 3 ranks, with any workers, from any store and any step."""

import csv
import multiprocessing
from hashlib import blake2b
from unittest import mock

import numpy as np
import pytest
import torch

from sensorium.data.arrays import ArraysSource
from sensorium.data.unreadable import UnreadableRecords
from sensorium.models.learner import make_views
from sensorium.models.plan import make_plan
from sensorium.recipe.reading import validate
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import generator
from sensorium.training.feed import absent_views, cutter, feed
from tests.core.data.stores import written as stores
from tests.core.data.stores.written import COUNT, STORES, write_store
from tests.distributed.ranks import on_ranks

SOURCES = ("arrays", "table", "folder", *STORES)
BATCH, STEPS = 7, 7
"""Steps of more than two epochs; no number of ranks divides the batch."""


def rows(start=0, stop=COUNT, every=stores.rows):
    """Return the records of stores with one caption each."""
    table = every(start, stop)
    return table.set_column(2, "text", [[cell[:1] for cell in table["text"].to_pylist()]])


def captions():
    return [text for (text,) in rows()["text"].to_pylist()]


def write(name, folder):
    """Write the same texts with the same ids; return the source that reads them, and its options."""
    if name in STORES:
        with mock.patch.object(stores, "rows", rows):
            return write_store(name, folder)
    folder.mkdir(parents=True, exist_ok=True)
    if name == "table":
        with (folder / "all.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "text"), *((f"r{i:02}", text) for i, text in enumerate(captions()))])
        return "table", {"path": str(folder / "all.csv"), "id": "id"}
    if name == "folder":
        for i, text in enumerate(captions()):
            (folder / f"r{i:02}.txt").write_text(text)
        return "folder", {"path": str(folder), "field": "text", "captions": None, "extensions": [".txt"]}
    return "arrays", {}


def opened(name, options):
    if name == "arrays":
        return ArraysSource({"text": captions()}, ids=[f"r{i:02}" for i in range(COUNT)])
    return load_extensions({}, []).registry.find("sources", name).load()(**options)


def plan_of(source, order="shuffled", accumulate=1):
    recipe = {
        "data": {"batch": BATCH, "order": order},
        "modalities": {
            "text": {
                "modality": {"name": "text", "tokenizer": "characters"},
                "views": "noisy",
                "encoder": "transformer",
            }
        },
        "objective": "simclr",
        "train": {"steps": STEPS, "accumulate": accumulate},
    }
    plan = make_plan(validate(recipe, "recipe"), load_extensions({}, []))
    plan.modalities["text"].fit(captions())
    return plan


def steps_of(rank, world, source, start=0, stop=STEPS, workers=0, **recipe):
    """Return, for each step, the ids of this rank's records, and a hash of both views of each of them."""
    source = opened(*source)
    plan = plan_of(source, **recipe)
    place = {"rank": rank, "world": world, "workers": workers, "device": "cpu"}
    loader = feed(plan, source, np.arange(COUNT), bad=UnreadableRecords(COUNT, 1.0), **place)
    cutting, absent = cutter(plan, loader, world), absent_views(plan, loader, torch.device("cpu"))
    found = []
    for step, parts in enumerate(loader.batches(start, stop), start):
        made = []
        for part, cut in zip(parts, cutting.cuts(parts) if cutting else [None], strict=True):
            views = make_views(part, plan.generators, generator(0, "views", step, 0, 0), absent, cut)["text"]
            made += [(id, *(text_of(view.batch, row) for view in views)) for row, id in enumerate(map(stem, part.ids))]
        found.append(made)
    return found


def stem(id):
    return id.removesuffix(".txt")  # the id of a file is its path


def text_of(batch, row):
    return blake2b(batch.ids[row][batch.mask[row]].numpy().tobytes(), digest_size=4).hexdigest()


def joined(ranks):
    """Return the steps of all ranks as those of one process."""
    return [[record for part in step for record in part] for step in zip(*ranks, strict=True)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return {name: write(name, tmp_path_factory.mktemp(name) / name) for name in SOURCES}


@pytest.fixture(scope="module")
def alone(written):
    return steps_of(0, 1, written["arrays"])


def test_an_epoch_has_every_record_once(alone):
    for epoch in range(2):
        seen = [id for step in alone[3 * epoch : 3 * epoch + 3] for id, *_ in step]
        assert len(seen) == len(set(seen)) == 3 * BATCH
    assert alone[0] != alone[3]


@pytest.mark.parametrize("name", SOURCES)
def test_every_store_has_the_same_batches_and_views(name, written, alone):
    assert steps_of(0, 1, written[name], start=2) == alone[2:], "from any step, with nothing remembered"


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing(workers, written, alone):
    assert steps_of(0, 1, written["parquet"], workers=workers) == alone


def each_case(rank, world, cases):
    multiprocessing.set_start_method("fork", force=True)  # for workers, as in a training; ranks come of a fork server
    return [steps_of(rank, world, **case) for case in cases]


BLOCKS = {"name": "blocks", "window": 2}


def on_all(world, cases, folder):
    """Return the steps of each case on so many ranks, joined."""
    return [joined(steps) for steps in zip(*on_ranks(world, each_case, folder, cases), strict=True)]


def test_two_ranks_and_their_parts_have_the_batches_and_views_of_one_process(written, alone, tmp_path):
    names = ("arrays", "table", "folder", "parquet", "webdataset")
    cases = [
        *({"source": written[name], "start": 4, "stop": 6} for name in names),
        {"source": written["webdataset"], "workers": 1, "stop": 4},
        {"source": written["arrays"], "accumulate": 2},
        {"source": written["parquet"], "order": BLOCKS},
    ]
    blocks = steps_of(0, 1, written["parquet"], order=BLOCKS)
    assert on_all(2, cases, tmp_path) == [*[alone[4:6]] * len(names), alone[:4], alone, blocks]
    assert blocks != alone
    assert len({id for step in blocks[:3] for id, *_ in step}) == 3 * BATCH


def test_three_ranks_have_the_batches_and_views_of_one_process(written, alone, tmp_path):
    names = ("arrow", "hf", "lance", "webdataset")
    assert on_all(3, [{"source": written[name], "start": 2} for name in names], tmp_path) == [alone[2:]] * len(names)


def test_accumulated_parts_have_the_views_of_the_whole_batch(written, alone):
    assert steps_of(0, 1, written["arrays"], accumulate=3) == alone
