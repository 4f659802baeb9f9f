import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from sensorium import BadSample
from sensorium.data.arrays import ArraysSource
from sensorium.data.decoding import RecordDecoder
from sensorium.data.folder import FolderSource
from sensorium.data.loader import iterate, worker_count
from sensorium.data.memory import Space
from sensorium.data.table import TableSource
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError, PluginError
from sensorium.parallel import cores
from sensorium.types import record_keys
from tests.core.data.toys import (
    BrokenModality,
    FileModality,
    Jitter,
    PaddedModality,
    Plain,
    VectorModality,
    flat,
    loader,
    numbers,
    same,
)
from tests.unreadable import reasons


@pytest.fixture
def source():
    return ArraysSource({"x": numbers()})


@pytest.fixture
def patchy():
    """Two fields of 40 records; some values are missing, two are bad."""
    x, y = numbers(), numbers()
    x[3] = x[10] = y[4] = y[10] = None
    x[20] = y[21] = "no vector"
    return ArraysSource({"x": x, "y": y})


def test_a_step_delivers_its_records(source):
    loaded = loader(source)
    (batch,) = next(loaded.batches(0, 1))
    assert [int(id) for id in batch.ids] == loaded.order.positions(0).tolist()
    assert batch.batches["x"].values.tolist() == [[float(i), float(i) ** 2] for i in map(int, batch.ids)]
    assert batch.present == {"x": None}
    assert loaded.steps_per_epoch == 5


def test_positions_choose_the_records(source):
    loaded = loader(source, positions=range(5, 21), batch=16)
    assert {int(id) for b in flat(loaded.batches(0, 1)) for id in b.ids} == set(range(5, 21))


@pytest.mark.parametrize(
    "options", [{"workers": 1}, {"workers": 2}, {"cache": "ram"}, {"cache": "device", "workers": 2}]
)
def test_batches_do_not_depend_on_who_reads_them(patchy, options):
    def run(**more):
        loaded = loader(patchy, fields={"x": "x", "y": "y"}, accumulate=2, **more)
        return flat(loaded.batches(0, 12)), set(reasons(loaded.bad))

    (plain, bad), (other, other_bad) = run(), run(**options)
    assert same(plain, other)
    assert bad == other_bad == {"20", "21"}


def test_a_cache_keeps_what_records_are_recognized_by(monkeypatch):
    monkeypatch.setattr("sensorium.data.loader.CHUNK", 4)  # most chunks hold no record with the label
    source = ArraysSource({"x": numbers()}, labels={"kind": [i if i == 3 else None for i in range(40)]})
    batches = flat(loader(source, cache="ram").batches(0, 5))
    assert sum(len(batch) for batch in batches) == 40
    for batch in batches:
        expected = record_keys([source.key(int(id)) for id in batch.ids])
        assert torch.equal(batch.keys["record"], expected["record"])
        assert torch.equal(batch.keys["label:kind"], expected.get("label:kind", expected["record"]))


def test_neighbors_come_in_one_batch(source, tmp_path):
    pairs = {"query": [str(i) for i in range(40)], "negative": [str(i ^ 1) for i in range(40)]}
    pq.write_table(pa.table(pairs), tmp_path / "mined.parquet")
    for batch in flat(loader(source, neighbors=str(tmp_path / "mined.parquet")).batches(0, 10)):
        ids = set(map(int, batch.ids))
        assert sum(id ^ 1 in ids for id in ids) >= len(ids) - 2  # a batch may end between two


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stage_draws_the_same_on_every_worker(source, workers):
    run = [flat(loader(source, stages={"x": Jitter()}, workers=n).batches(0, 10)) for n in (0, workers)]
    assert same(*run)
    plain = flat(loader(source, stages={"x": Plain()}).batches(0, 10))
    assert not same(run[0], plain)


def test_a_stage_draws_anew_in_every_epoch(source):
    batches = flat(loader(source, stages={"x": Jitter()}, batch=40).batches(0, 2))
    rows = [dict(zip(b.ids, b.batches["x"].values, strict=True)) for b in batches]
    assert all(not torch.equal(rows[0][id], rows[1][id]) for id in rows[0])


def test_a_stage_cannot_be_fed_from_a_cache(source):
    with pytest.raises(DataError, match=r"The views of 'x' \(Jitter\) change each example .* set data\.cache: off"):
        loader(source, stages={"x": Jitter()}, cache="ram")
    loader(source, stages={"x": Plain()}, cache="ram")


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_resuming_continues_the_same_batches(source, cache):
    whole = flat(loader(source, cache=cache).batches(0, 12))
    assert same(whole[7:], flat(loader(source, cache=cache).batches(7, 12)))


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (3, 2)])
def test_ranks_join_to_one_process(source, world, accumulate):
    alone = flat(loader(source).batches(0, 6))
    ranks = [list(loader(source, rank=r, world=world, accumulate=accumulate).batches(0, 6)) for r in range(world)]
    assert all(len(step) == accumulate for rank in ranks for step in rank)
    for step, batch in enumerate(alone):
        assert [id for rank in ranks for micro in rank[step] for id in micro.ids] == batch.ids


def test_the_global_generator_is_left_alone(source):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(loader(source, workers=1).batches(0, 2))
    assert torch.equal(torch.rand(3), expected)


def test_the_cache_tells_how_far_it_is_and_decodes_once(monkeypatch):
    monkeypatch.setattr("sensorium.data.loader.CHUNK", 16)
    decoded, told = [], []
    monkeypatch.setattr(VectorModality, "decode", lambda self, raw: decoded.append(raw) or torch.zeros(1))
    loaded = loader(ArraysSource({"x": numbers()}), cache="ram")
    loaded.prepare(lambda done, count: told.append((done, count)))
    list(loaded.batches(0, 10))
    assert told == [(16, 40), (32, 40), (40, 40)]
    assert decoded == numbers()


def test_a_cache_that_cannot_fit_is_refused_early(monkeypatch, source):
    monkeypatch.setattr("sensorium.data.cache_share.memory", lambda: Space(100.0, 100.0))
    with pytest.raises(DataError, match=r"A cache of all 40 records would take about .* set data\.cache: disk, or off"):
        loader(source, cache="ram").prepare()


def test_a_cache_of_uneven_batches_is_refused(monkeypatch):
    monkeypatch.setattr("sensorium.data.loader.CHUNK", 4)
    uneven = ArraysSource({"x": ["1 2"] * 4 + ["1 2 3"] * 4})
    with pytest.raises(DataError, match="The modality 'x' makes batches of different shapes"):
        loader(uneven, cache="ram").prepare()


def test_a_cache_serves_batches_that_pad(monkeypatch):
    monkeypatch.setattr("sensorium.data.loader.CHUNK", 8)
    source = ArraysSource({"x": ["1 " * (1 + i % 7) for i in range(40)]})
    runs = [
        flat(loader(source, modalities={"x": PaddedModality()}, batch=3, cache=cache).batches(0, 13))
        for cache in ("off", "ram")
    ]
    assert len({b.batches["x"].values.shape[1] for b in runs[0]}) > 1
    assert same(*runs)


def test_records_lacking_everything_are_left_out(patchy):
    seen = {id for b in flat(loader(patchy, fields={"x": "x", "y": "y"}).batches(0, 5)) for id in b.ids}
    assert "10" not in seen
    assert {"3", "4"} <= seen
    seen = {id for b in flat(loader(patchy, fields={"x": "x", "y": "y"}, require="all").batches(0, 5)) for id in b.ids}
    assert not {"3", "4", "10"} & seen
    assert len(seen) == 35


def test_presence_masks_follow_the_records(patchy):
    for batch in flat(loader(patchy, fields={"x": "x", "y": "y"}).batches(0, 5)):
        for name, lacking in {"x": "3", "y": "4"}.items():
            unreadable = {"x": "20", "y": "21"}[name]
            has = [id not in (lacking, unreadable) for id in batch.ids]
            assert batch.present[name] is None if all(has) else batch.present[name].tolist() == has
            assert len(batch.batches[name]) == sum(has)
            chosen = [float(id) for id, there in zip(batch.ids, has, strict=True) if there]
            assert batch.batches[name].values[:, 0].tolist() == chosen


def test_a_source_that_knows_leaves_records_out_up_front(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("x,y\n" + "".join(f"{i} 1,{'' if i % 2 else '1 1'}\n" for i in range(20)))
    loaded = loader(TableSource(str(path)), fields={"y": "y"}, batch=10)
    assert loaded.steps_per_epoch == 1
    assert [len(b) for b in flat(loaded.batches(0, 3))] == [10, 10, 10]
    path.write_text("x,y\n1,\n")
    with pytest.raises(DataError, match="None of the 1 records has a value in any of y"):
        loader(TableSource(str(path)), fields={"y": "y"}, batch=1)


def test_files_are_found_below_the_root(tmp_path):
    (tmp_path / "ä b.vec").write_text("1 2")
    (tmp_path / "c.vec").write_text("1 oh")
    source = ArraysSource({"x": ["ä b.vec", "c.vec", "gone.vec"]}, ids=["a", "c", "g"], root=str(tmp_path))
    loaded = loader(source, modalities={"x": FileModality()}, batch=3, max_bad=1.0)
    (batch,) = flat(loaded.batches(0, 1))
    assert batch.ids == ["a"]
    assert reasons(loaded.bad)["c"] == "'1 oh' is no vector"
    assert "gone.vec' cannot be read: No such file" in reasons(loaded.bad)["g"]


class PictureModality(VectorModality):
    """The mean color of a picture file."""

    reads_files = True

    def decode(self, raw):
        try:
            return torch.from_numpy(np.asarray(Image.open(raw), dtype=np.float32)).mean((0, 1))
        except OSError as error:
            raise BadSample(str(error)) from error


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_picture_and_an_empty_caption_are_counted_and_skipped(tmp_path, workers):
    for i in range(6):
        Image.new("RGB", (64, 64), (40 * i, 0, 0)).save(tmp_path / f"{i}.jpg")
        (tmp_path / f"{i}.txt").write_text(f"{i} 1")
    whole = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "4.txt").write_text("\n")
    loaded = loader(
        FolderSource(str(tmp_path)),
        fields={"image": "image", "text": "text"},
        modalities={"image": PictureModality(), "text": VectorModality()},
        batch=6,
        workers=workers,
    )
    (batch,) = flat(loaded.batches(0, 1))
    assert len(batch) == 6  # each with what can be read of it
    chosen = {n: [i for i, here in zip(batch.ids, batch.present[n], strict=True) if here] for n in batch.present}
    assert sorted(chosen["image"]) == ["0.jpg", "1.jpg", "3.jpg", "4.jpg", "5.jpg"]
    assert sorted(chosen["text"]) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert reasons(loaded.bad).keys() == {"2.jpg", "4.jpg"}
    assert "truncated" in reasons(loaded.bad)["2.jpg"].lower()
    assert reasons(loaded.bad)["4.jpg"] == "caption is empty"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cache", ["off", "ram"])
def test_too_many_bad_records_stop_the_run(workers, cache):
    source = ArraysSource({"x": ["oh"] * 3 + numbers(37)})
    with pytest.raises(DataError, match=r"2 of 40 records are unreadable or have an unreadable value \(5 %\), more"):
        list(loader(source, max_bad=0.04, workers=workers, cache=cache).batches(0, 5))


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_a_batch_without_usable_records_is_an_error(cache):
    source = ArraysSource({"x": [None] * 4})
    with pytest.raises(DataError, match="None of the records that rank 0 feeds into step 0 can be used"):
        list(loader(source, batch=2, cache=cache).batches(0, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_of_a_modality_surfaces_with_the_record(workers):
    source = ArraysSource({"x": numbers()}, ids=[f"r{i}" for i in range(40)])
    loaded = loader(source, modalities={"x": BrokenModality()}, workers=workers)
    with pytest.raises(PluginError) as caught:
        list(loaded.batches(0, 5))
    assert str(caught.value) == "The modality 'x' failed to decode the record 'r7': ZeroDivisionError: seven."
    assert 'raise ZeroDivisionError("seven")' in "".join(caught.value.__notes__)


def test_a_defect_of_collate_surfaces_with_a_record():
    with pytest.raises(PluginError, match=r"failed to join 8 examples from the record '.*': RuntimeError"):
        list(loader(ArraysSource({"x": ["1", "1 2"] * 4})).batches(0, 1))


class FragileSource(ArraysSource):
    def __getitem__(self, index):
        if index == 2:
            raise KeyError("lost")
        return super().__getitem__(index)


def test_a_defect_of_a_source_surfaces_with_the_record():
    with pytest.raises(PluginError, match="The source FragileSource failed to read the record '2': KeyError"):
        list(loader(FragileSource({"x": numbers(8)})).batches(0, 1))


class DeadlyModality(VectorModality):
    def decode(self, raw):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_sentence(source):
    with pytest.raises(DataError, match=r"A loader worker was killed.*data\.workers"):
        list(loader(source, modalities={"x": DeadlyModality()}, workers=1).batches(0, 1))


class TermedModality(VectorModality):
    """Its worker receives a SIGTERM that another process sends, as a scheduler would."""

    def decode(self, raw):
        subprocess.run(["kill", "-TERM", str(os.getpid())], check=True)
        return super().decode(raw)


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="this system does not say who sent a signal")
def test_a_worker_outlives_a_sigterm_to_its_group(source):
    got = flat(loader(source, modalities={"x": TermedModality()}, workers=1, batch=2).batches(0, 2))
    assert same(got, flat(loader(source, batch=2).batches(0, 2)))


def test_a_program_that_fails_while_workers_run_ends():
    code = """
from tests.core.data.toys import BrokenModality, VectorModality, loader, numbers
from sensorium.data.arrays import ArraysSource
kept = loader(ArraysSource({"x": numbers()}), workers=2).batches(0, 5)
next(kept)  # left open: its workers are running when the program ends
list(loader(ArraysSource({"x": numbers()}), modalities={"x": BrokenModality()}, workers=2).batches(0, 5))
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=root)
    assert done.returncode == 1
    assert "failed to decode the record '7'" in done.stderr


def test_bad_arguments_are_named(source):
    with pytest.raises(DataError, match="'x' reads the field 'xs', which the source does not have, did you mean 'x'"):
        loader(source, fields={"x": "xs"}, modalities={"x": VectorModality()})
    with pytest.raises(DataError, match=r"data\.batch is 41, but there are only 40 records"):
        loader(source, batch=41)
    with pytest.raises(DataError, match=r"data\.batch is 8, fewer than one record for each of 3 ranks times 3"):
        loader(source, world=3, accumulate=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_iterate_passes_once_in_order(patchy, workers):
    bad = UnreadableRecords(40, 1.0)
    modalities = {"x": VectorModality()}
    batches = list(
        iterate(RecordDecoder(patchy, {"x": "x"}, modalities), range(2, 40), batch=9, bad=bad, workers=workers)
    )
    assert [len(b) for b in batches] == [7, 9, 8, 9, 2]
    assert [int(id) for b in batches for id in b.ids] == [i for i in range(2, 40) if i not in (3, 10, 20)]
    assert set(reasons(bad)) == {"20"}


def test_worker_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32), raising=False)
    assert worker_count("auto") == 8
    monkeypatch.setattr(cores, "_sharers", Counter(dict.fromkeys(range(32), 8)))
    assert worker_count("auto") == 4
    assert worker_count(3) == 3
