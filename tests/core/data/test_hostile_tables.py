"""Tables of strangers: nothing in them is lost without a word, and nothing ends in a traceback."""

import gzip
import json
import pickle
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium import TableReader, Unreadable
from sensorium.data.table import TableSource
from sensorium.errors import BadSample, DataError
from sensorium.modalities.graph.sources.tables import GraphTables
from sensorium.modalities.molecule.sources.files import MoleculeFiles
from sensorium.modalities.timeseries.sources.table import SeriesTable

HUGE = 2**63 + 11


@pytest.fixture
def table(tmp_path):
    """Write one file, from text, bytes, rows (JSON lines) or columns (Parquet), and open it."""

    def write(name, content, **options):
        path = tmp_path / name
        if isinstance(content, dict):
            pq.write_table(pa.table(content), path)
        elif isinstance(content, list):
            path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in content))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return TableSource(str(path), **options)

    return write


def invalid(*cells: bytes) -> pa.Array:
    """Return a column of text that holds any bytes."""
    return pa.array(cells, pa.binary()).view(pa.string())


FORMATS = {
    "t.jsonl": [{"name": HUGE, "x": "a"}, {"name": HUGE + 1, "x": "b"}],
    "t.csv": f"name,x\n{HUGE},a\n{HUGE + 1},b\n",
    "t.parquet": {"name": pa.array([HUGE, HUGE + 1], pa.uint64()), "x": ["a", "b"]},
    "d.parquet": {"name": pa.array([Decimal(HUGE), Decimal(HUGE + 1)], pa.decimal128(25, 0)), "x": ["a", "b"]},
}


@pytest.mark.parametrize("name", FORMATS)
def test_whole_numbers_beyond_64_bits_are_text_in_every_format(table, name):
    ids = [str(HUGE), str(HUGE + 1)]
    assert [r.id for r in table(name, FORMATS[name], id="name")] == ids
    assert [r.labels["name"] for r in table(name, FORMATS[name], labels=["name"])] == ids
    assert [r.group for r in table(name, FORMATS[name], group="name")] == ids


def test_numbers_keep_their_kind_where_they_fit(table):
    small = {
        "u": pa.array([1, 2], pa.uint64()),
        "d": pa.array([Decimal(3), Decimal(4)]),
        "e": pa.array([Decimal("0.5")] * 2),
    }
    assert table("t.parquet", small, labels=["u", "d", "e"])[1].labels == {"u": 2, "d": 4, "e": 0.5}
    source = table("t.jsonl", [{"x": [1, HUGE], "y": 1.5}, {"x": [2], "y": 2**70}], labels=["y"])
    assert source[0].values["x"] == [1.0, float(HUGE)]  # in a list, a quantity
    assert source[1].labels == {"y": 2.0**70}


def test_an_integer_of_thousands_of_digits_is_text(table):
    digits = "7" * 5000
    source = table("t.jsonl", ['{"id": ' + digits + "}", '{"id": 3}'], id="id")
    assert [r.id for r in source] == [digits, "3"]


@pytest.mark.parametrize("cell", ["1e400", "-1e999"])
def test_a_number_that_float64_cannot_hold_is_no_label(table, cell):
    for name, content in (("t.csv", f"x,y\na,0.5\nb,{cell}\n"), ("t.jsonl", ['{"y": 0.5}', f'{{"y": {cell}}}'])):
        source = table(name, content, labels=["y"])
        assert [r.labels for r in source] == [{"y": 0.5}, {}]
        (note,) = source.notes()
        assert "the label 'y' is left out of 1 record" in note
        assert f"{name}, line {3 if name == 't.csv' else 2}, column 'y': it is infinite" in note


def test_numbers_beside_text_are_text(table):
    source = table("t.jsonl", [{"y": 1, "x": "a"}, {"y": "one", "x": 5}, {"y": True, "x": None}], labels=["y"])
    assert [r.labels["y"] for r in source] == ["1", "one", "true"]
    assert [r.values["x"] for r in source] == ["a", "5", None]


def test_categories_and_dates(table):
    columns = {"c": pa.array(["x", "", None]).dictionary_encode(), "when": [date(2024, 1, 2)] * 3}
    source = table("t.parquet", columns, labels=["when"])
    assert [r.values["c"] for r in source] == ["x", None, None]
    assert source.present("c").tolist() == [True, False, False]
    assert source[0].labels == {"when": "2024-01-02"}


TEXTS = {
    "t.jsonl": [{"x": "good", "z": "1"}, '{"x": "half \\ud83d", "z": "2"}', {"x": "nul \0", "z": "3"}],
    "t.csv": b"x,z\ngood,1\nbyte \xff,2\nnul \0,3\n",
    "t.tsv": "x\tz\ngood\t1\nbyte ".encode("utf-16") + b"\x3d\xd8" + "\t2\nnul \0\t3\n".encode("utf-16-le"),
    "t.parquet": {"x": invalid(b"good", b"byte \xff", b"nul \0"), "z": ["1", "2", "3"]},
}


@pytest.mark.parametrize("name", TEXTS)
def test_one_unreadable_cell_leaves_the_others(table, name, tmp_path):
    source = pickle.loads(pickle.dumps(table(name, TEXTS[name])))
    assert [r.values["z"] for r in source] == ["1", "2", "3"]
    assert source[0].values["x"] == "good"
    line = 3 if name in ("t.csv", "t.tsv") else 2
    for row, reason in ((1, "surrogate pair" if name == "t.jsonl" else "which is no text"), (2, "is NUL")):
        cell = source[row].values["x"]
        assert isinstance(cell, Unreadable)
        assert reason in cell.reason
        assert ("data.source.encoding" in cell.reason) == (name != "t.parquet" and "surrogate" not in reason)
        assert (cell.where.path, cell.where.line, cell.where.column) == (str(tmp_path / name), line + row - 1, "x")
    assert source.present("x").all()


@pytest.mark.parametrize("name", TEXTS)
def test_an_unreadable_id_or_group_takes_its_record_and_a_label_only_itself(table, name):
    line = 3 if name in ("t.csv", "t.tsv") else 2
    for option in ("id", "group"):
        source = table(name, TEXTS[name], **{option: "x"})
        assert source.key(1).id == (f"{name}:{line}" if option == "id" else "1")
        with pytest.raises(BadSample, match=f"its {option} is unreadable: ") as caught:
            source[1]
        assert caught.value.where.line == line
        assert source[0].values["z"] == "1"
    source = table(name, TEXTS[name], labels=["x"])
    assert [r.labels for r in source] == [{"x": "good"}, {}, {}]
    assert "the label 'x' is left out of 2 records" in source.notes()[0]


def test_an_unreadable_split_takes_its_record(table):
    source = table("t.csv", b"x,part\na,train\nb,\xff\nc,test\n", split="part")
    assert [source.key(i).split for i in range(3)] == ["train", None, "test"]
    with pytest.raises(BadSample, match="its split is unreadable"):
        source[1]


def test_a_line_that_is_no_object_is_an_unreadable_record(table):
    lines = [{"i": "a", "x": 1}, "", '{"i": "b", "x":', "[1, 2]", "[" * 100_000, {"i": "c", "x": 3}, '{"i": "d", "x"']
    source = table("t.jsonl", lines, id="i", labels=["x"])
    assert [source.key(i).id for i in range(6)] == ["a", "t.jsonl:3", "t.jsonl:4", "t.jsonl:5", "c", "t.jsonl:7"]
    reasons = {1: "not JSON", 2: "not a JSON object", 3: "nested too deep", 5: "not JSON"}
    for row, reason in reasons.items():
        with pytest.raises(BadSample, match=reason):
            source[row]
    assert source[4].labels == {"x": 3}


def test_a_row_with_more_or_fewer_cells_is_an_unreadable_record(table):
    source = table("t.csv", 'i,x\na,1\nb,2,3\n\nc\n"d\nd",4\ne,5\n', id="i", labels=["x"])
    assert [source.key(i).id for i in range(5)] == ["a", "t.csv:3", "t.csv:5", "d\nd", "e"]
    for row, reason in ((1, "it has 3 cells, not 2"), (2, "it has 1 cell, not 2")):
        with pytest.raises(BadSample, match=reason):
            source[row]
    assert [source.key(i).labels for i in range(5)] == [{"x": 1}, {}, {}, {"x": 4}, {"x": 5}]


def test_invalid_rows_are_numbered_across_blocks(table):
    rows = [f"{'long ' * 30}{i},{i}" for i in range(20_000)]
    rows[15_000] += ",one too many"
    source = table("t.csv", "x,y\n" + "\n".join(rows), labels=["y"])
    assert len(source) == 20_000
    with pytest.raises(BadSample, match="3 cells") as caught:
        source[15_000]
    assert caught.value.where.line == 15_002
    assert [source.key(i).labels.get("y") for i in (14_999, 15_000, 15_001, 19_999)] == [14_999, None, 15_001, 19_999]


@pytest.mark.parametrize("body", ['1,2\n"open,3\n4,5\n6,7\n', '1,2\n3,"open\n4,5\n6,7\n', '1,2\n3,"open\n4,"5"\n6,7\n'])
def test_a_quote_that_is_not_closed_swallows_no_rows(table, body):
    with pytest.raises(DataError, match=r"A quote that opens in line 3 of '.*t\.csv' is not closed .*quote: ''"):
        table("t.csv", "a,b\n" + body)
    assert len(table("t.csv", "a,b\n" + body, quote="")) == 4


def test_quotes_within_cells_and_lines_within_quotes_are_text(table):
    source = table("t.csv", 'a,b\n5" tall,"two\r\nlines"\nx "y" z,1\n')
    assert [r.values["a"] for r in source] == ['5" tall', 'x "y" z']
    assert source[0].values["b"] == "two\r\nlines"


@pytest.mark.parametrize("size", [3_500_000, 30_000_000])
def test_long_cells_are_read(table, size):
    long = "x" * size
    for name, content in (("t.csv", f'a,b\n"{long}",1\ny,2\n'), ("t.jsonl", [{"a": long, "b": "1"}, {"a": "y"}])):
        source = table(name, content)
        assert [len(r.values["a"]) for r in source] == [size, 1]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "';'"), ("\t", "a tab"), ("|", r"'\|'")])
def test_another_delimiter_is_named(table, delimiter, name):
    body = "text,kind\na b,1\n".replace(",", delimiter)
    with pytest.raises(DataError, match=f"separated by {name}.* set data.source.delimiter: ") as caught:
        table("t.csv", body)
    assert json.dumps(delimiter) in str(caught.value)
    assert table("t.csv", body, delimiter=delimiter).fields == ("text", "kind")
    assert table("t.csv", f"a{delimiter}b\nx\n").fields == (f"a{delimiter}b",)  # a heading that only looks like one


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_honored(table, encoding):
    bodies = {
        "t.csv": "x,y\nnaïve,1\r\n🦊,2\r\n",
        "t.tsv": "x\ty\nnaïve\t1\n🦊\t2\n",
        "t.jsonl": '{"x":"naïve"}\n{"x":"🦊"}',
    }
    for name, body in bodies.items():
        assert [r.values["x"] for r in table(name, body.encode(encoding))] == ["naïve", "🦊"], name
        zipped = gzip.compress(body.encode(encoding))
        assert [r.values["x"] for r in table(f"{name}.gz", zipped)] == ["naïve", "🦊"], name


def test_other_encodings_are_an_option(table):
    body = "größe,y\nklein,1\nriesig – sehr,2\n".encode("cp1252")
    assert table("t.csv", body, encoding="cp1252")[1].values["größe"] == "riesig – sehr"
    with pytest.raises(DataError, match=r"first line of '.*t\.csv' cannot be read.* data\.source\.encoding"):
        table("t.csv", body)
    wide = "x,y\na,1\n".encode("utf-16-le")
    with pytest.raises(DataError, match=r"NUL: .* data\.source\.encoding, such as cp1252 or utf-16"):
        table("t.csv", wide)
    assert table("t.csv", wide, encoding="utf-16-le").fields == ("x", "y")
    with pytest.raises(DataError, match="There is no encoding 'latin-99'"):
        table("t.jsonl", [{"x": 1}], encoding="latin-99")


def test_bytes_and_lists_never_become_names(table):
    columns = {"b": [b"a", b"b"], "l": [[1], [2]], "s": [{"k": 1}] * 2, "x": ["1", "2"]}
    for column, kind in (("b", "binary"), ("l", "list<"), ("s", "struct<")):
        for option, word in (("labels", "labels"), ("id", "ids"), ("group", "groups"), ("split", "splits")):
            with pytest.raises(DataError, match=f"column '{column}' of .* has the type {kind}.* cannot be {word}"):
                table("t.parquet", columns, **{option: [column] if option == "labels" else column})


def test_other_readers_of_tables_refuse_what_they_cannot_leave_out(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"x,y\n1,a\n2,\xff\n3\n")
    found = TableReader().read([tmp_path / "t.csv"], ["x"], ["y"])
    with pytest.raises(DataError, match=r"t\.csv, line 4 cannot be read: it has 1 cell, not 2"):
        found.numbers("x")
    (tmp_path / "t.csv").write_bytes(b"x,y\n1,a\n2,\xff\n")
    found = TableReader().read([tmp_path / "t.csv"], ["x"], ["y"])
    assert found.texts("x") == ["1", "2"]
    with pytest.raises(DataError, match=r"t\.csv, line 3, column 'y' cannot be read: character 1 is the byte 0xff"):
        found.cells("y")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "a,b\n", "has no rows"),
        ("t.tsv", "a\tb\r\n", "has no rows"),
        ("t.jsonl", "\n \n", "is empty"),
        ("t.jsonl", "{}\n{}\n", "is empty"),
        ("t.jsonl", "not\njson\n", r"Line 1 of .* is not JSON \(Expecting value at character 1\)"),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n" + np.random.default_rng(0).bytes(9000).hex().encode(), mtime=0)[:2000],
            "cut short",
        ),
        ("t.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-9], "cut short"),
        ("t.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-6] + b"123456", "damaged"),
        ("t.parquet", b"PAR1" + b"\0" * 40 + b"PAR1", "cannot be read as PARQUET"),
        ("t.csv", "a,a\n1,2\n", "has 2 columns named 'a'"),
        ("t.csv", "i,x\na,1\nb,2\na,3\n", r"'a' occurs twice .* rows 1 of .* and 3 of .* data\.source\.key=i"),
    ],
)
def test_what_is_no_table_is_one_sentence(table, name, content, sentence):
    with pytest.raises(DataError, match=sentence):
        table(name, content, **({"id": "i"} if "i,x" in str(content) else {}))


def test_sources_of_other_modalities_take_delimiters_and_encodings(tmp_path):
    body = "smiles;größe\nC;1\nN;2\n".encode("cp1252")
    (tmp_path / "m.csv").write_bytes(body)
    molecules = MoleculeFiles(str(tmp_path / "m.csv"), labels=["größe"], delimiter=";", encoding="cp1252")
    assert [r.labels for r in molecules] == [{"größe": 1}, {"größe": 2}]
    (tmp_path / "s.csv").write_bytes("t;länge\n1;0.5\n2;1.5\n".encode("utf-16"))
    series = SeriesTable(str(tmp_path / "s.csv"), time="t", delimiter=";")
    assert series[0].values["timeseries"].tolist() == [[0.5, 1.5]]
    (tmp_path / "e.csv").write_bytes("graph;source;target\ng;ä;b\n".encode("cp1252"))
    graphs = GraphTables(str(tmp_path / "e.csv"), delimiter=";", encoding="cp1252")
    assert graphs[0].values["graph"].num_nodes == 2


def test_molecules_leave_an_unreadable_row_out(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"smiles,y\nC,1\nN,2,3\nO\xff,4\nCC,5\n")
    source = MoleculeFiles(str(tmp_path / "m.csv"), labels=["y"])
    for row, reason in ((1, "3 cells"), (2, "0xff")):
        with pytest.raises(BadSample, match=reason):
            source[row]
    assert [source[row].values["molecule"] for row in (0, 3)] == ["C", "CC"]
    (tmp_path / "m.csv").write_bytes(b"smiles,y\nC,1\nN,\xff\n")
    with pytest.raises(DataError, match=r"m\.csv, line 3, column 'y' cannot be read"):
        MoleculeFiles(str(tmp_path / "m.csv"), labels=["y"])


def test_tables_of_series_and_graphs_name_a_broken_row(tmp_path):
    (tmp_path / "s.csv").write_bytes(b"t,a\n1,0.5\n2\n3,1.5\n")
    with pytest.raises(DataError, match=r"s\.csv, line 3 cannot be read: it has 1 cell, not 2"):
        SeriesTable(str(tmp_path / "s.csv"), time="t")
    (tmp_path / "e.csv").write_bytes(b"graph,source,target\ng,a,b,c\ng,a,b\n")
    with pytest.raises(DataError, match=r"e\.csv, line 2 cannot be read: it has 4 cells, not 3"):
        GraphTables(str(tmp_path / "e.csv"))
