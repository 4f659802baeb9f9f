import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.modalities.timeseries.sources.formats import read


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_ts(tmp_path):
    text = "# about\n%more\n@problemName p\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n\n"
    (first, a, _), (second, b, _) = read(written(tmp_path, "x.ts", text + "1,2,?:3,4:a\n5,nan:6,7: b\n"))
    np.testing.assert_array_equal(first, [[1, 2, np.nan], [3, 4, np.nan]])
    np.testing.assert_array_equal(second, [[5, np.nan], [6, 7]])
    assert (a, b) == ("a", "b")
    assert first.dtype == np.float32


def test_ts_with_targets_and_without_labels(tmp_path):
    assert read(written(tmp_path, "x.ts", "@targetlabel true\n@data\n1,2:0.5\n"))[0][1] == 0.5
    assert read(written(tmp_path, "x.ts", "@classLabel false\n@data\n1,2\n"))[0][1] is None


def test_tsv(tmp_path):
    (first, a, _), (second, b, _) = read(written(tmp_path, "x.tsv", "1\t0.5\tNaN\t2\n-1\t3\tNaN\tNaN\n"))
    np.testing.assert_array_equal(first, [[0.5, np.nan, 2]])
    np.testing.assert_array_equal(second, [[3]])
    assert (a, b) == ("1", "-1")


def test_arff(tmp_path):
    flat = "@relation r\n@attribute a numeric\n@attribute b numeric\n@attribute target {u,v}\n@data\n1,?,u\n3,4,v\n"
    (first, a, _), (second, b, _) = read(written(tmp_path, "x.arff", flat))
    np.testing.assert_array_equal(first, [[1, np.nan]])
    np.testing.assert_array_equal(second, [[3, 4]])
    assert (a, b) == ("u", "v")
    many = "@relation r\n@attribute all relational\n@attribute a numeric\n@end all\n@attribute class {u,v}\n@data\n"
    ((values, label, _),) = read(written(tmp_path, "y.arff", many + "'1,2\\n3,4',v\n"))
    np.testing.assert_array_equal(values, [[1, 2], [3, 4]])
    assert label == "v"
    bare = "@relation r\n@attribute a numeric\n@attribute b numeric\n@data\n1,2\n"
    assert read(written(tmp_path, "z.arff", bare))[0][1] is None


def test_npz(tmp_path):
    x = np.arange(12.0).reshape(2, 2, 3)
    np.savez(tmp_path / "a.npz", x=x, y=np.array(["u", "v"]), lengths=[3, 1])
    (first, a, _), (second, b, _) = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(first, x[0])
    np.testing.assert_array_equal(second, x[1, :, :1])
    assert (a, b) == ("u", "v")
    np.savez(tmp_path / "b.npz", x=x[0], y=np.array([0.5, 2]))
    assert [(values.shape, label) for values, label, _ in read(tmp_path / "b.npz")] == [((1, 3), 0.5), ((1, 3), 2.0)]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.csv", "1,2", "series-table"),
        ("x.ts", "@problemName x\n1,2\n", "@data"),
        ("x.ts", "@classLabel true\n@data\n1,oops:a\n", "Line 3 .*oops"),
        ("x.ts", "@classLabel true\n@data\na\n", "no series"),
        ("x.ts", "@timeStamps true\n@data\n(1,2):a\n", "time stamps"),
        ("x.tsv", "1\ttwo\n", "Line 1 .*two"),
        ("x.arff", "@data\n1,2", "@attribute"),
        ("x.arff", "@attribute a numeric\n", "@data"),
        ("x.npz", "text", "cannot be read"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, text, reason):
    with pytest.raises(DataError, match=reason):
        read(written(tmp_path, name, text))


def test_invalid_arrays_and_missing_files_are_refused(tmp_path):
    for arrays, reason in (
        ({"z": np.zeros(3)}, "no array 'x'"),
        ({"x": np.zeros(3)}, "1 axes"),
        ({"x": np.zeros((3, 4)), "y": np.zeros(2)}, "'y' has the shape"),
    ):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=reason):
            read(tmp_path / "a.npz")
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "absent.ts")


@pytest.mark.parametrize("first", [250_000_000, 2**60])
def test_counters_are_read_exactly(tmp_path, first):
    counter = [first + 3 * i for i in range(20)]
    np.savez(tmp_path / "a.npz", x=np.array([counter], np.int64))
    (tmp_path / "a.ts").write_text("@classLabel false\n@data\n" + ",".join(map(str, counter)) + "\n")
    (tmp_path / "a.tsv").write_text("\t".join(["7", *map(str, counter)]) + "\n")
    attributes = "".join(f"@attribute a{i} numeric\n" for i in range(20))
    (tmp_path / "a.arff").write_text(f"@relation r\n{attributes}@data\n" + ",".join(map(str, counter)) + "\n")
    for name in ("a.npz", "a.ts", "a.tsv", "a.arff"):
        ((values_CT, _, _),) = read(tmp_path / name)
        assert [int(value) for value in values_CT[0]] == counter, name


def test_npz_may_name_its_channels(tmp_path):
    x = np.arange(12.0).reshape(2, 2, 3)
    np.savez(tmp_path / "a.npz", x=x, channels=["left", "right"])
    assert [one.channels for one in read(tmp_path / "a.npz")] == [("left", "right")] * 2
    np.savez(tmp_path / "b.npz", x=x, channels=["left"])
    with pytest.raises(DataError, match="2 channels, but 'channels' has the shape"):
        read(tmp_path / "b.npz")
