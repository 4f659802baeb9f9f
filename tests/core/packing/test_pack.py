"""A packed set has the records of its source, whatever was packed, and however often it was stopped."""

import json
import tarfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.data.packed_values import unpacked
from sensorium.errors import DataError, RecipeError
from sensorium.packing import packer
from sensorium.packing.manifest import Manifest
from sensorium.recipe.yaml_text import one_line
from sensorium.testing.equality import same
from sensorium.types import Span

NO_WORKERS = ["data.workers=0", "data.max_bad=0.5"]


@pytest.fixture
def pictures(tmp_path):
    """A folder of 40 pictures in two classes, PNG and JPEG, of which two are damaged."""
    rng = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number:02d}{'.png' if number % 3 else '.jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)).save(path)
    (tmp_path / "pictures" / "a" / "04.png").write_bytes(b"")
    (tmp_path / "pictures" / "b" / "05.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


def packed_again(made):
    """Open what was packed as the result says."""
    options = dict(made.source)
    return sensorium.build("sources", options.pop("name"), **options)


@pytest.mark.parametrize("form", ["parquet", "webdataset", "lance"])
def test_files_keep_their_bytes_and_records_their_keys(form, pictures, tmp_path):
    if form == "lance":
        pytest.importorskip("lance")
    made = sensorium.pack(pictures, tmp_path / "out", NO_WORKERS, form=form, shard_bytes=20_000)
    assert (made.records, made.left_out, made.shards) == (39, 1, 2)
    source, original = packed_again(made), sensorium.build("sources", "folder", path=str(pictures))
    assert len(source) == 39
    for record, expected in zip(source, [one for one in original if one.id != "a/04.png"], strict=True):
        assert record.values["image"] == (pictures / record.id).read_bytes()
        assert (record.id, record.labels, record.split) == (expected.id, expected.labels, expected.split)
        assert record.group == expected.group
    assert sensorium.verify_pack(tmp_path / "out").records == 39


def test_a_table_a_recipe_and_a_run_are_packed_by_their_paths(tmp_path):
    table = tmp_path / "words.csv"
    table.write_text("id,text\n" + "".join(f"r{i},word {i}\n" for i in range(12)))
    recipe = tmp_path / "words.yaml"
    recipe.write_text(
        f"data: {{source: {{name: table, path: {table}, id: id}}, batch: 4, workers: 0}}\n"
        "modalities: {text: {views: noisy, encoder: {name: transformer, width: 32, depth: 1}}}\n"
        "objective: simclr\ntrain: {steps: 1, accelerator: cpu}\nevaluate: {evaluators: {}}\n"
    )
    sensorium.fit(recipe, run_dir=tmp_path / "run", evaluate=False)
    for number, target in enumerate((table, recipe, tmp_path / "run")):
        made = sensorium.pack(target, tmp_path / f"out-{number}")
        assert made.records == 12
        assert [record.values["text"] for record in packed_again(made)] == [f"word {i}" for i in range(12)]


def test_decoded_pictures_are_the_examples_of_the_originals_and_damaged_ones_are_named(pictures, tmp_path):
    size = ["modalities.image.modality={name: image, size: 16, canvas: 24}"]
    made = sensorium.pack(pictures, tmp_path / "out", [*NO_WORKERS, *size], decode=True)
    assert (made.records, made.left_out) == (38, 2)
    named = (tmp_path / "out" / "unreadable.csv").read_text()
    assert "a/04.png" in named
    assert "b/05.png" in named
    modality = sensorium.build("modalities", "image", size=16, canvas=24)
    for record in packed_again(made):
        example = modality.decode(record.values["image"])
        assert min(example.shape[1:]) <= 24
        assert np.array_equal(example, modality.decode(str(pictures / record.id)))
    smaller = sensorium.pack(pictures, tmp_path / "jpeg", [*NO_WORKERS, *size], decode=True, quality=50)
    assert smaller.after < made.after / 2


def test_what_has_no_decoded_form_is_packed_as_it_is_and_said_to_be(tmp_path, caplog):
    given = ArraysSource({"text": ["a", "b"], "unread": [object(), object()]})
    made = sensorium.pack(None, tmp_path / "out", NO_WORKERS, source=given, decode=True)
    assert [record.values for record in packed_again(made)] == [{"text": "a"}, {"text": "b"}]
    assert "the values of text are packed as they are" in caplog.text
    assert "not packed, since no modality reads them: unread" in caplog.text


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_decoded_recordings_are_the_examples_of_the_originals(form, tmp_path):
    sounds, rng = tmp_path / "sounds", np.random.default_rng(0)
    sounds.mkdir()
    for number in range(12):
        rate = 22050 if number % 2 else 44100
        soundfile.write(sounds / f"{number:02d}.wav", 0.1 * rng.standard_normal((rate // 2 + number, 2)), rate)
    options = {"sample_rate": 8000, "seconds": 0.3, "trim": 40}
    asked = [f"modalities.audio.modality={one_line({'name': 'audio', **options})}", "data.source.field=audio"]
    made = sensorium.pack("folder", tmp_path / "out", [*NO_WORKERS, *asked, f"data.source.path={sounds}"], decode=True)
    assert (made.records, made.left_out) == (12, 0)
    assert json.loads((tmp_path / "out" / "pack.json").read_text())["source"]["decoded"] == ["audio"]
    modality = sensorium.build("modalities", "audio", **options)
    for record in packed_again(made):
        samples, rate = unpacked(record.values["audio"])
        assert rate == 8000
        assert np.array_equal(modality.decode((samples, rate)), modality.decode(str(sounds / record.id)))
        assert modality.decode(str(sounds / record.id)).shape == (1, 2400)


def test_too_many_unreadable_records_stop_it(pictures, tmp_path):
    with pytest.raises(DataError, match=r"2 of 40 records are unreadable .*data\.max_bad"):
        sensorium.pack(pictures, tmp_path / "out", ["data.workers=0"], decode=True)


def test_arrays_several_values_and_missing_ones_come_back(tmp_path):
    series = [np.arange(6.0).reshape(2, 3) * i for i in range(9)]
    texts = [["one", "two"] if i == 7 else None if i == 3 else f"text {i}" for i in range(9)]
    given = ArraysSource(
        {"series": series, "text": texts}, labels={"text": list("abcabcabc")}, groups=list("xyzxyzxyz")
    )
    made = sensorium.pack(None, tmp_path / "out", NO_WORKERS, source=given)
    source = packed_again(made)
    tars = packed_again(sensorium.pack(None, tmp_path / "tars", NO_WORKERS, source=given, form="webdataset"))
    assert same([record.labels for record in tars], [record.labels for record in given])
    assert same([record.values for record in tars], [record.values for record in source])
    assert same([record.labels for record in source], [record.labels for record in given])
    assert [record.group for record in source] == [record.group for record in given]
    for record, original in zip(source, given, strict=True):
        assert np.array_equal(unpacked(record.values["series"]), original.values["series"])
        assert list(record.values.get("text") or []) == list(original.values["text"] or [])
    again = sensorium.pack(None, tmp_path / "again", NO_WORKERS, source=source)
    assert (tmp_path / "again" / "000000.parquet").read_bytes() == (tmp_path / "out" / "000000.parquet").read_bytes()
    assert again.records == 9


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_pack_is_packed_again_by_its_path(form, pictures, tmp_path):
    made = sensorium.pack(pictures, tmp_path / "first", NO_WORKERS, form=form)
    again = sensorium.pack(tmp_path / "first", tmp_path / "second", NO_WORKERS)
    assert same(list(packed_again(again)), list(packed_again(made)))


def test_time_stamps_come_back(tmp_path):
    class Recording(ArraysSource):
        def columns(self):
            return replace(super().columns(), first=pa.array([0.0, 1.0]), last=pa.array([0.5, 1.5]))

    given = Recording({"text": ["a", "b"]})
    source = packed_again(sensorium.pack(None, tmp_path / "out", NO_WORKERS, source=given))
    assert [record.time for record in source] == [Span(0.0, 0.5), Span(1.0, 1.5)]
    assert source.fields == ("text",)


def test_a_record_unlike_the_sampled_ones_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(packer, "SAMPLE", 1)
    texts = ["plain"] * 50 + [["now", "two"]] + ["plain"] * 9
    made = sensorium.pack(None, tmp_path / "out", NO_WORKERS, source=ArraysSource({"text": texts}), shard_bytes=100)
    source = packed_again(made)
    assert list(source[50].values["text"]) == ["now", "two"]
    assert source[3].values["text"] == "plain"
    assert made.shards == len(list((tmp_path / "out").glob("*.parquet")))


@pytest.mark.parametrize("form", ["parquet", "webdataset", "lance"])
def test_a_stopped_pack_goes_on_to_the_same_shards(form, pictures, tmp_path, monkeypatch):
    if form == "lance":
        pytest.importorskip("lance")
    options = {"form": form, "shard_bytes": 20_000}
    monkeypatch.setattr(packer, "CHUNK", 4)
    whole = sensorium.pack(pictures, tmp_path / "whole", NO_WORKERS, **options)
    with monkeypatch.context() as patched:  # killed between a shard and what is noted of it
        write = Manifest.write

        def killed(self, folder):
            if len(self.shards) == 2:
                raise KeyboardInterrupt
            write(self, folder)

        patched.setattr(Manifest, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            sensorium.pack(pictures, tmp_path / "stopped", NO_WORKERS, **options)
    (tmp_path / "stopped" / ".000002.parquet.999999999.tmp").write_bytes(b"left behind")
    with pytest.raises(DataError, match="is not finished"):
        sensorium.verify_pack(tmp_path / "stopped")
    made = sensorium.pack(pictures, tmp_path / "stopped", NO_WORKERS, **options)
    assert 0 < made.read < 40
    assert (made.records, made.shards, made.before) == (whole.records, whole.shards, whole.before)
    sensorium.verify_pack(tmp_path / "stopped")
    assert not list((tmp_path / "stopped").glob(".*"))
    if form == "lance":
        import lance

        tables = [lance.dataset(str(tmp_path / name)).to_table() for name in ("whole", "stopped")]
        assert tables[0].equals(tables[1])
    else:
        shards = [{file.name: file.read_bytes() for file in (tmp_path / n).glob("0*")} for n in ("whole", "stopped")]
        assert shards[0] == shards[1]
    assert sensorium.pack(pictures, tmp_path / "stopped", NO_WORKERS, **options).read == 0


def test_a_flipped_byte_is_found(pictures, tmp_path):
    sensorium.pack(pictures, tmp_path / "out", NO_WORKERS)
    file = tmp_path / "out" / "000000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"000000\.parquet' is not what was packed: its SHA-256 begins with"):
        sensorium.verify_pack(tmp_path / "out")
    file.unlink()
    with pytest.raises(DataError, match=r"000000\.parquet' is missing"):
        sensorium.verify_pack(tmp_path / "out")


def test_another_pack_in_the_folder_is_refused(pictures, tmp_path):
    sensorium.pack(pictures, tmp_path / "out", NO_WORKERS)
    with pytest.raises(DataError, match=r"has a pack of shard_bytes 256000000, not 1000: name another folder"):
        sensorium.pack(pictures, tmp_path / "out", NO_WORKERS, shard_bytes=1000)
    (pictures / "a" / "zz.png").write_bytes(b"new")
    with pytest.raises(DataError, match="has a pack of other records"):
        sensorium.pack(pictures, tmp_path / "out", NO_WORKERS)
    small, large = ([*NO_WORKERS, f"modalities.image.modality={{name: image, size: {size}}}"] for size in (16, 24))
    sensorium.pack(pictures, tmp_path / "decoded", small, decode=True)
    assert sensorium.pack(pictures, tmp_path / "decoded", small, decode=True).read == 0
    with pytest.raises(DataError, match=r"has a pack of options \{'image': \{'size': 16\}\}, not .*24"):
        sensorium.pack(pictures, tmp_path / "decoded", large, decode=True)
    with pytest.raises(DataError, match="is not empty, and no pack was begun in it"):
        sensorium.pack(pictures, pictures, NO_WORKERS)


def test_what_cannot_be_done_is_said(tmp_path):
    texts = ArraysSource({"text": ["a", "b"]})
    with pytest.raises(DataError, match=r"What is packed of text is stored without loss: leave quality out"):
        sensorium.pack(None, tmp_path / "out", NO_WORKERS, source=texts, decode=True, quality=90)
    with pytest.raises(RecipeError, match="A quality is that of decoded examples"):
        sensorium.pack(None, tmp_path / "out", source=texts, quality=90)
    with pytest.raises(RecipeError, match=r"has no pack\.json: name the folder that `sensorium pack` wrote"):
        sensorium.verify_pack(tmp_path)


def test_members_of_tars_are_named_as_webdataset_names_them(pictures, tmp_path):
    sensorium.pack(pictures, tmp_path / "out.tars", NO_WORKERS)
    with tarfile.open(tmp_path / "out.tars" / "000000.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["000000000000.json", "000000000000.image.jpg"]
        said = json.load(tar.extractfile(names[0]))
        assert said["id"] == "a/00.jpg"
        assert said["class"] == "a"
        assert tar.extractfile(names[1]).read() == (pictures / "a" / "00.jpg").read_bytes()
