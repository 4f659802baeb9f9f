"""Files are whole or not there, have the rights of any new file, and a disk that refuses is one sentence."""

import errno
import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from sensorium.errors import RunError
from sensorium.runs.atomic import sweep, write_atomically


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x"),
        lambda path: torch.save({"x": torch.zeros(2)}, path),
        lambda path: save_file({"x": torch.zeros(2)}, path),
    ],
    ids=["text", "checkpoint", "safetensors"],
)
def test_a_file_has_the_rights_that_the_umask_gives(tmp_path, umask, write):
    write_atomically(tmp_path / "new" / "file", write)
    assert stat.filemode((tmp_path / "new" / "file").stat().st_mode) == "-rw-r-----"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "Read-only")]
)
def test_a_disk_that_refuses_is_a_sentence_with_the_file(tmp_path, number, words):
    def write(path):
        path.write_bytes(bytes(3000))
        raise OSError(number, os.strerror(number))

    (tmp_path / "kept").write_text("before")
    with pytest.raises(RunError) as error:
        write_atomically(tmp_path / "kept", write)
    sentence = str(error.value)
    assert words in sentence
    assert str(tmp_path / "kept") in sentence
    assert "3 kB of it were written" in sentence
    assert "are free" in sentence
    assert (tmp_path / "kept").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def write(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", write)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writers_left_is_swept_and_what_is_being_written_is_not(tmp_path):
    left = tmp_path / "checkpoints" / ".step-000000001.ckpt.4194301.tmp"
    left.parent.mkdir()
    other = tmp_path / f".run.json.{os.getppid()}.tmp"
    for path in (left, other, tmp_path / "metrics.jsonl"):
        path.write_text("x")
    assert sweep(tmp_path) == [left]
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "checkpoints", "metrics.jsonl"]
