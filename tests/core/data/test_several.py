"""Several values of one field: lists in cells, and rows with one key."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium import Several, Unreadable
from sensorium.data.several import distinct, values_of
from sensorium.data.table import TableSource
from sensorium.errors import BadSample, DataError


@pytest.fixture
def table(tmp_path):
    def write(name, content, **options):
        path = tmp_path / name
        if isinstance(content, dict):
            pq.write_table(pa.table(content), path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return TableSource(str(path), **options)

    return write


def test_a_list_of_texts_bytes_or_files_is_several_values():
    assert values_of(["a", "", None, "b", "a"]) == ["a", "b"]
    assert (
        values_of(("a", "b")) == values_of(np.array(["a", "b"], object)) == values_of(Several(["a", "b"])) == ["a", "b"]
    )
    assert values_of([b"a", b"b"]) == [b"a", b"b"]
    files = [{"bytes": None, "path": "a.png"}, {"bytes": b"b", "path": None}]
    assert values_of(files) == files
    assert (values_of(["a"]), values_of([]), values_of(["", None]), values_of(None)) == (["a"], [], [], [])
    assert values_of("") == [""]  # text of which its modality says that it is empty
    assert values_of([1.0, 2.0]) == [[1.0, 2.0]]  # one value: a series
    assert values_of([[1.0], [2.0]]) == [[[1.0], [2.0]]]
    assert len(distinct([np.array([1.0, np.nan]), np.array([1.0, np.nan]), np.array([2.0, 3.0])])) == 2
    assert isinstance(pickle.loads(pickle.dumps(Several("ab"))), Several)


def test_files_in_a_list(table):
    files = [[{"bytes": b"x", "path": "a.png"}, {"bytes": None, "path": "b.png"}], [], None]
    source = table("t.parquet", {"photos": files})
    assert [r.values["photos"] for r in source] == [Several([b"x", "b.png"]), None, None]
    assert source.present("photos").tolist() == [True, False, False]


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_a_list_of_captions_in_a_cell(table, name):
    captions = [["a fox", "red animal"], ["one"], [], None, ["", None]]
    lines = "\n".join(json.dumps({"caption": cell}) for cell in captions)
    source = table(name, {"caption": captions} if name == "t.parquet" else lines)
    assert [r.values["caption"] for r in source] == [Several(["a fox", "red animal"]), "one", None, None, None]
    assert source.present("caption").tolist()[:4] == [True, True, False, False]


PRODUCTS = (
    "product,image,caption,kind,part\n"
    "p1,1.png,,shoe,train\n"
    "p2,,a hat,hat,test\n"
    "p1,,red shoe,,train\n"
    "p1,2.png,running shoe,shoe,\n"
    "p2,,a hat,hat,\n"
)


def test_rows_with_one_key_are_one_record(table):
    source = table("t.csv", PRODUCTS, key="product", labels=["kind"], split="part")
    assert source.fields == ("image", "caption")
    assert [(r.id, r.labels, r.split) for r in source] == [
        ("p1", {"kind": "shoe"}, "train"),
        ("p2", {"kind": "hat"}, "test"),
    ]
    assert source[0].values == {"image": Several(["1.png", "2.png"]), "caption": Several(["red shoe", "running shoe"])}
    assert source[1].values == {"image": None, "caption": "a hat"}
    assert source.present("image").tolist() == [True, False]
    assert source.locate(0, "caption").line == 4
    assert [r.id for r in pickle.loads(pickle.dumps(source))] == ["p1", "p2"]


def test_all_values_in_one_column(table):
    rows = "sku\tmedium\tcontent\n7\timage\ta.png\n8\ttext\tblue\n7\ttext\tred\n7\ttext\tcrimson\n9\tvideo\tc.mp4\n"
    options = {"key": "sku", "field": "medium", "value": "content"}
    source = table("t.tsv", rows, **options)
    assert source.fields == ("image", "text", "video")
    assert source[0].values == {"image": "a.png", "text": Several(["red", "crimson"]), "video": None}
    source = table("t.tsv", rows, **options, columns={"caption": "text", "photo": "image"})
    assert source.fields == ("caption", "photo")
    assert source[1].values == {"caption": "blue", "photo": None}
    assert source.present("photo").tolist() == [True, False, False]
    with pytest.raises(DataError, match=r"names no field 'imge', did you mean 'image'\? Its fields are: image, text"):
        table("t.tsv", rows, **options, columns={"photo": "imge"})
    with pytest.raises(DataError, match=r"needs data\.source\.key, field and value"):
        table("t.tsv", rows, field="medium", value="content")


def test_several_rows_of_numbers(table):
    source = table("t.csv", "k,a,b\n1,1,2\n1,3,\n2,5,6\n2,5,6\n", key="k", columns={"row": ["a", "b"]})
    assert source[0].values["row"][0].tolist() == [1.0, 2.0]
    assert len(source[0].values["row"]) == 2
    assert source[1].values["row"].tolist() == [5.0, 6.0]


def test_rows_of_one_key_agree_in_what_a_record_has_once(table):
    for column, options in (("kind", {"labels": ["kind"]}), ("part", {"split": "part"}), ("kind", {"group": "kind"})):
        rows = "k,x,kind,part\n1,a,shoe,train\n2,b,hat,train\n1,c,boot,test\n"
        with pytest.raises(DataError, match=rf"rows of '1' .* differ in '{column}': row 1 of .* has .*, row 3 of"):
            table("t.csv", rows, key="k", **options)
    with pytest.raises(DataError, match=r"Row 2 of .* has an empty key in column 'k'"):
        table("t.csv", "k,x\n1,a\n,b\n", key="k")
    with pytest.raises(DataError, match=r"data\.source\.id names one row each"):
        table("t.csv", "k,x\n1,a\n", key="k", id="k")


def test_an_unreadable_row_or_cell_leaves_the_other_rows_of_its_key(table):
    source = table("t.csv", b"k,x\n1,a\n1,\xff\n1,a,b\n1,c\n\xfe,d\n", key="k")
    assert [source.key(i).id for i in range(len(source))] == ["1", "t.csv:4", "t.csv:6"]
    first, fault, last = source[0].values["x"]
    assert (first, last) == ("a", "c")
    assert isinstance(fault, Unreadable)
    for row, reason in ((1, "it has 3 cells"), (2, "its key is unreadable")):
        with pytest.raises(BadSample, match=reason):
            source[row]
