"""Tars: members by place, what is damaged, the index that is kept."""

import io
import json
import logging
import os
import subprocess
import tarfile

import numpy as np
import pytest

from sensorium import Several, Unreadable
from sensorium.data.stores import tar_index
from sensorium.data.stores.webdataset import WebDatasetSource
from sensorium.errors import DataError
from tests.core.data.stores.written import add


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            add(tar, name, data)
    return str(path)


def pictures(count=3):
    return {f"{i}.jpg": bytes([i]) * 600 for i in range(count)}


def test_members_are_grouped_as_webdataset_does(tmp_path):
    names = ("./a/1.jpg", "a/1.seg.png", "b.c/1.jpg", "b.c/1.TXT", "README", ".hidden.jpg", "__about.json", "a/._1.jpg")
    source = WebDatasetSource(write(tmp_path / "t.tar", {name: name.encode() for name in names}))
    assert [record.id for record in source] == ["t/a/1", "t/b.c/1"]
    assert source[0].values == {"jpg": b"./a/1.jpg", "seg.png": b"a/1.seg.png"}
    assert source[1].values == {"jpg": b"b.c/1.jpg", "txt": "b.c/1.TXT"}
    assert source.present("seg.png").tolist() == [True, False]


def test_values_are_what_extensions_say(tmp_path):
    array = io.BytesIO()
    np.save(array, np.arange(3))
    members = {"a.cls": b"7\n", "a.id": b"x7", "a.json": b'{"n": [1]}', "a.npy": array.getvalue(), "a.pth": b"\x80\x04"}
    values = dict(WebDatasetSource(write(tmp_path / "t.tar", members))[0].values)
    assert values.pop("npy").tolist() == [0, 1, 2]
    assert values == {"cls": 7, "id": "x7", "json": {"n": [1]}, "pth": b"\x80\x04"}


def test_numbered_members_are_several_values_in_their_order(tmp_path):
    path = write(tmp_path / "t.tar", {f"a.{n}.txt": str(n).encode() for n in (10, 2, 0)} | {"b.txt": b"one"})
    source = WebDatasetSource(path)
    assert source[0].values["txt"] == Several(["0", "2", "10"])
    assert source[1].values["txt"] == "one"


def test_numbered_members_of_several_extensions_are_several_values(tmp_path):
    path = write(tmp_path / "t.tar", {"a.1.x.png": b"p", "a.0.x.jpg": b"j", "b.x.png": b"q"})
    first, second = WebDatasetSource(path, columns={"image": "x.jpg;x.png"})
    assert first.values["image"] == Several([b"j", b"p"])
    assert second.values["image"] == b"q"


def test_fields_take_the_first_extension_that_a_record_has_or_an_entry(tmp_path):
    said = json.dumps({"caption": {"en": "a cat"}, "tags": ["u", "v"]}).encode()
    path = write(tmp_path / "t.tar", {"a.png": b"p", "a.jpg": b"j", "b.png": b"p", "b.json": said})
    columns = {"image": "jpg;png", "text": "json.caption.en", "tags": "json.tags"}
    first, second = WebDatasetSource(path, columns=columns)
    assert first.values == {"image": b"j"}
    assert second.values == {"image": b"p", "text": "a cat", "tags": Several(["u", "v"])}
    with pytest.raises(DataError, match=r"read of members '.gif', of which there are none in .*extensions are: jpg"):
        WebDatasetSource(path, columns={"image": "gif"})


def test_labels_and_keys(tmp_path):
    members = {}
    for i in range(4):
        said = {"uid": f"u{i}", "who": i // 2, "part": "test" if i > 1 else "train", "kind": "xy"[i % 2]}
        members |= {f"{i}.jpg": b"j", f"{i}.cls": str(i % 2).encode(), f"{i}.json": json.dumps(said).encode()}
    keys = {"id": "json.uid", "group": "json.who", "split": "json.part"}
    path = write(tmp_path / "t.tar", members)
    source = WebDatasetSource(path, labels=["cls", "json.kind"], classes={"cls": ["no", "yes"]}, **keys)
    assert source.fields == ("jpg",)
    key = source.key(3)
    assert (key.id, key.labels, key.split, key.group) == ("u3", {"cls": "yes", "kind": "y"}, "test", "1")
    with pytest.raises(DataError, match="of 'jpg' none can be"):
        WebDatasetSource(path, columns={"c": "cls"}, labels=["jpg"])


def test_json_that_cannot_be_read_is_a_missing_label_and_is_said(tmp_path):
    path = write(tmp_path / "t.tar", {"a.jpg": b"j", "a.json": b'{"k": 1}', "b.jpg": b"j", "b.json": b"{"})
    source = WebDatasetSource(path, labels=["json.k"], columns={"image": "jpg", "said": "json"})
    assert [source.key(i).labels for i in range(2)] == [{"k": 1}, {}]
    assert "1 records have no label; the first is 'b': its .json is no JSON" in source.notes()[0]
    assert "the member of 1 bytes at byte" in source[1].values["said"].reason


def test_tars_in_several_folders_have_different_ids(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "0.tar", pictures(1))
    source = WebDatasetSource(splits={"train": str(tmp_path / "x"), "test": str(tmp_path / "y" / "*.tar")})
    assert [(record.id, record.split) for record in source] == [("x/0/0", "train"), ("y/0/0", "test")]
    assert source.fragments().tolist() == [0, 1, 2]


def test_a_tar_that_is_cut_short(tmp_path):
    path = write(tmp_path / "t.tar", pictures())
    os.truncate(path, 2 * 1536 + 512 + 100)
    source = WebDatasetSource(path)
    found = source.read(range(3))
    assert [type(record.values["jpg"]) for record in found] == [bytes, bytes, Unreadable]
    fault = found[2].values["jpg"]
    assert fault.reason == "its tar is cut short: of its 600 bytes, from byte 3,584 on, 100 are there"
    assert str(fault.where) == f"{path}:2.jpg"


def test_a_damaged_header_is_told_and_what_stands_behind_it_is_read(tmp_path):
    path = write(tmp_path / "t.tar", pictures())
    with open(path, "r+b") as file:
        file.seek(1536)
        file.write(b"?" * 400)
    source = WebDatasetSource(path)
    assert [record.id for record in source] == ["t/0", "t/2"]
    assert source[1].values["jpg"] == bytes([2]) * 600
    assert f"'{path}' is damaged from byte 1,536 on" in source.notes()[0]
    assert WebDatasetSource(path).notes() == source.notes()  # as the index has it


def test_joined_tars_are_one(tmp_path):
    write(tmp_path / "a.tar", pictures(1))
    write(tmp_path / "b.tar", {"x.jpg": b"x"})
    (tmp_path / "c.tar").write_bytes((tmp_path / "a.tar").read_bytes() + (tmp_path / "b.tar").read_bytes())
    source = WebDatasetSource(str(tmp_path / "c.tar"))
    assert [record.id for record in source] == ["c/0", "c/x"]
    assert source.notes() == []


@pytest.mark.parametrize("command", ["gzip -k", "bzip2 -k", "xz -k"])
def test_compressed_tars_are_refused(tmp_path, command):
    path = write(tmp_path / "t.tar", pictures())
    subprocess.run([*command.split(), path], check=True)
    compressed = next(file for file in tmp_path.iterdir() if file.name.startswith("t.tar."))
    with pytest.raises(DataError, match=f"is compressed by {command.split()[0]}, so that no member can be read"):
        WebDatasetSource(str(compressed))


def test_what_is_no_tar_is_refused(tmp_path):
    (tmp_path / "t.tar").write_bytes(b"?" * 5000)
    with pytest.raises(DataError, match="is no tar, or damaged"):
        WebDatasetSource(str(tmp_path / "t.tar"))


@pytest.fixture
def scanned(monkeypatch):
    scan, urls = tar_index._scanned, []
    monkeypatch.setattr(tar_index, "_scanned", lambda url, *args: urls.append(url) or scan(url, *args))
    return urls


def test_an_index_is_made_once_and_again_when_the_tar_has_changed(tmp_path, scanned):
    path = write(tmp_path / "t.tar", pictures())
    assert WebDatasetSource(path)[2] == WebDatasetSource(path)[2]
    assert (len(scanned), os.path.exists(f"{path}.index")) == (1, True)
    write(path, pictures(4))
    assert len(WebDatasetSource(path)) == 4
    (tmp_path / "t.tar.index").write_bytes(b"torn")
    assert len(WebDatasetSource(path)) == 4
    assert len(scanned) == 3


def test_an_index_without_a_place_beside_its_tar_is_in_the_cache_folder(tmp_path, scanned, cache, monkeypatch, caplog):
    path = write(tmp_path / "t.tar", pictures())
    places = tar_index._places
    monkeypatch.setattr(tar_index, "_places", lambda url: list(places(url))[1:])
    WebDatasetSource(path)
    assert len(WebDatasetSource(path)) == 3
    assert (len(scanned), len(list((cache / "sensorium" / "tars").iterdir()))) == (1, 1)
    monkeypatch.setattr(tar_index, "_places", lambda url: [])
    with caplog.at_level(logging.WARNING):
        assert len(WebDatasetSource(path)) == 3
    assert "cannot be kept anywhere" in caplog.text


def test_an_extension_that_begins_like_an_entry_is_an_extension(tmp_path):
    members = {"a.json.gz": b"packed", "a.json": b'{"k": 1, "gz": 2}', "b.json.gz": b"other"}
    path = write(tmp_path / "t.tar", members)
    first, second = WebDatasetSource(path)
    assert first.values == {"json": {"k": 1, "gz": 2}, "json.gz": b"packed"}
    assert second.values == {"json.gz": b"other"}
    source = WebDatasetSource(path, labels=["json.k"])
    assert source.fields == ("json.gz",)
    assert source.present("json.gz").tolist() == [True, True]


def test_an_entry_that_no_record_has_is_refused_with_those_that_there_are(tmp_path):
    said = [{"caption": {"en": "a"}, "kind": 1}, {"rare": None}, ["no", "names"]]
    path = write(tmp_path / "t.tar", {f"{i}.json": json.dumps(one).encode() for i, one in enumerate(said)})
    for name in ("json.rare", "json.caption.en", "json.nope;json.kind"):
        assert WebDatasetSource(path, columns={"x": name}).fields == ("x",)
    reason = (
        r"has the entry 'json.caption.e', did you mean 'json.caption.en'\? The entries are: json.caption, .*json.rare"
    )
    with pytest.raises(DataError, match=reason):
        WebDatasetSource(path, columns={"x": "json.caption.e"})
    with pytest.raises(DataError, match=r"No JSON in '.*t.tar' has the entry 'json.nope'"):
        WebDatasetSource(path, columns={"x": "json.kind"}, labels=["json.nope"])


def test_an_entry_may_have_points_in_its_name(tmp_path):
    path = write(tmp_path / "t.tar", {"a.json": b'{"p.q": 1, "r": {"s.t": 2}}', "b.json": b'{"p": {"q": 3}}'})
    first, second = WebDatasetSource(path, columns={"x": "json.p.q", "y": "json.r.s.t"})
    assert (first.values, second.values) == ({"x": 1, "y": 2}, {"x": 3})


def test_entries_are_not_known_of_json_that_is_not_in_the_index(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_index, "SHORT", 10)
    path = write(tmp_path / "t.tar", {"a.json": b'{"k": 1}', "b.json": b'{"long": "and more"}'})
    assert [record.values for record in WebDatasetSource(path, columns={"x": "json.long"})] == [{}, {"x": "and more"}]


@pytest.mark.parametrize("beyond", [0, -1, -400])
def test_a_tar_that_may_be_cut_behind_a_whole_member_is_told_and_read(beyond, tmp_path):
    path = write(tmp_path / "t.tar", pictures())
    os.truncate(path, 2 * 1536 + beyond)  # before 0, in the zeros that fill a member's last block
    source = WebDatasetSource(path)
    assert [len(record.values["jpg"]) for record in source] == [600] * 2
    (note,) = source.notes()
    assert note.startswith(f"'{path}' lacks the empty block at the end of a tar")
    assert WebDatasetSource(path).notes() == [note]  # as the index has it
