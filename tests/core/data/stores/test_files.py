"""Which files a name stands for."""

import pytest

from sensorium.data.stores.files import expand_braces, stored_files
from sensorium.errors import DataError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("{own}/{a,b}", ["{own}/a", "{own}/b"]),
    ],
)
def test_braces(text, names):
    assert expand_braces(text) == names


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "y=1/b.x",
        "y=1/a.x",
        "y=2%2F3/c.x",
        "y=__HIVE_DEFAULT_PARTITION__/d.x",
        "_SUCCESS.x",
        ".h/e.x",
        "r.md",
    ):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "t"


def listed(path=None, splits=None):
    return stored_files("parquet", path, splits, (".x",), {})


def test_a_folder_is_its_visible_files_in_order_with_the_columns_of_its_folders(tree):
    files = listed(str(tree))
    assert [file.url.rpartition("/")[2] for file in files] == ["a.x", "b.x", "c.x", "d.x"]
    assert [file.folders["y"] for file in files] == ["1", "1", "2/3", None]


def test_names_stay_as_they_are_written(tree):
    assert [file.url for file in listed("t/y=1/*.x")] == ["t/y=1/a.x", "t/y=1/b.x"]
    assert listed("t/y=1/{b,a}.x")[0].url == "t/y=1/b.x"
    assert listed(f"file://{tree}/y=1/a.x")[0].url == f"{tree}/y=1/a.x"
    assert listed("t/*/a.x")[0].folders == {"y": "1"}


def test_files_of_splits(tree):
    files = listed(splits={"train": ["t/y=1/a.x", "t/y=1/b.x"], "dev": "t/y=2*/"})
    assert [file.part for file in files] == ["train", "train", "val"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "takes either path or splits"),
        ({"path": "t/none.x"}, "The file 't/none.x' does not exist"),
        ({"path": "t/*.y"}, "No file matches 't/\\*.y'"),
        ({"path": "t/.h"}, "has no file that ends in .x"),
        ({"path": []}, "an empty list"),
        ({"path": ["t/y=1/a.x", "t/y=1"]}, "names the file 't/y=1/a.x' twice"),
        ({"splits": {"later": "t"}}, "a split is train, val or test"),
        ({"path": "nowhere://a"}, "no address that fsspec knows"),
    ],
)
def test_what_is_refused(tree, given, reason):
    if given.get("path") == "t/.h":
        (tree / ".h" / "e.x").unlink()
    with pytest.raises(DataError, match=reason):
        listed(**given)
