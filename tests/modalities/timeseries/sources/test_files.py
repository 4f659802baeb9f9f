import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.modalities.timeseries.sources.files import SeriesFiles


def test_file_names_give_splits_and_labels_their_type(tmp_path):
    for name in ("Set_TRAIN.tsv", "Set_TEST.tsv", "more.tsv"):
        (tmp_path / name).write_text("a\t1\t2\nb\t3\t4\n")
    np.savez(tmp_path / "numbers.npz", x=np.zeros((1, 3)), y=np.array([0.5]))
    files = [str(tmp_path / name) for name in ("Set_TRAIN.tsv", "Set_TEST.tsv", "more.tsv", "numbers.npz")]
    source = SeriesFiles(files)
    keys = [source.key(i) for i in range(len(source))]
    assert [key.split for key in keys] == ["train", "train", "test", "test", None, None, None]
    assert [key.id for key in keys[:3]] == ["Set_TRAIN.tsv/0", "Set_TRAIN.tsv/1", "Set_TEST.tsv/0"]
    assert keys[1].labels == {"class": "b"}
    assert keys[6].labels == {"target": 0.5}
    assert source[1].values["timeseries"].tolist() == [[3, 4]]
    assert source.fields == ("timeseries",)


def test_files_of_one_name_in_two_folders(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.tsv").write_text("1\t2\n")
    source = SeriesFiles([str(tmp_path / folder / "x.tsv") for folder in ("a", "b")], field="signal")
    assert [source.key(i).id for i in range(2)] == ["a/x.tsv/0", "b/x.tsv/0"]
    with pytest.raises(DataError, match="empty list"):
        SeriesFiles([])


def test_windows_of_files(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(40.0).reshape(2, 1, 20))
    source = SeriesFiles(str(tmp_path / "x.npz"), window=8, stride=6)
    assert [source.key(i).id for i in range(3)] == ["x.npz/0:0", "x.npz/0:6", "x.npz/0:12"]
    assert source[1].values["timeseries"].tolist() == [list(range(6, 14))]
