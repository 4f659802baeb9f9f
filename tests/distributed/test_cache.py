"""Ranks of a node fill one cache together, and pick from one copy of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError
from sensorium.parallel import collectives
from tests.core.data.toys import PaddedModality, VectorModality, flat, loader
from tests.distributed.ranks import on_ranks

COUNT, WIDTH = 600, 2048
"""Records, decoded in chunks of 256, and numbers in each: 4.9 MB in all."""


class Wide(VectorModality):
    """Long vectors of short texts; it notes what it decodes."""

    def __init__(self):
        self.decoded = []

    def decode(self, raw):
        self.decoded.append(raw)
        return super().decode(raw)[:1].repeat(WIDTH)


def loaded(cache, rank=0, world=1, folder=None, **options):
    texts = [f"{i}" for i in range(COUNT)]
    words = [None if i % 7 == 0 else f"{i} " * (1 + i % 5) for i in range(COUNT)]
    source, fields = ArraysSource({"x": texts, "y": words}), {"x": "x", "y": "y"}
    modalities = {"x": Wide(), "y": PaddedModality()}
    place = {"cache": cache, "cache_dir": folder, "rank": rank, "world": world}
    return loader(source, fields=fields, modalities=modalities, **place, **options)


def shared(rank, world, cache, folder):
    made = loaded(cache, rank, world, folder)
    return flat(made.batches(0, 80)), len(made._decoder.modalities["x"].decoded)


@pytest.mark.parametrize("cache", ["ram", "disk", "device"])
def test_ranks_decode_a_share_each_and_see_the_batches_of_one_process(cache, tmp_path):
    expected = flat(loaded("off").batches(0, 80))
    found = on_ranks(2, shared, tmp_path, cache, str(tmp_path))
    assert [decoded for _, decoded in found] == [512, 88]
    for whole, *parts in zip(expected, *[batches for batches, _ in found], strict=True):
        assert [id for part in parts for id in part.ids] == whole.ids
        for name, column in (("x", "values"), ("y", "lengths")):
            joined = torch.cat([part.batches[name].tensors()[column] for part in parts])
            assert torch.equal(joined, whole.batches[name].tensors()[column])
        assert torch.equal(torch.cat([part.keys["record"] for part in parts]), whole.keys["record"])


def holding(rank, world):
    made = loaded("ram", rank, world)
    made.prepare()
    made.cache.take(np.arange(COUNT))  # touches all of it
    collectives.barrier()
    mapped = Path("/proc/self/smaps").read_text().split("/memfd:sensorium")[1:]
    collectives.barrier()
    return [sum(1024 * int(part.split(f"{name}:")[1].split()[0]) for part in mapped) for name in ("Rss", "Pss")]


def test_two_ranks_hold_one_copy(tmp_path):
    data = 4 * COUNT * WIDTH
    for resident, proportional in on_ranks(2, holding, tmp_path):
        assert resident > data
        assert proportional < 0.6 * data


def refused(rank, world, folder):
    made = loaded("disk", rank, world, folder if rank else str(Path(folder) / "missing"))
    try:
        made.prepare()
    except DataError as error:
        return str(error)


def test_what_one_rank_cannot_do_is_said_on_all(tmp_path):
    first, second = on_ranks(2, refused, tmp_path, str(tmp_path))
    assert first == second
    assert first.startswith("data.cache_dir = ")
    assert first.endswith("name a folder in which you may write.")
