"""Files of molecules."""

from __future__ import annotations

import gzip
import pickle

import pyarrow as pa
import pyarrow.parquet
import pytest
from rdkit import Chem

from sensorium import BadSample, SensoriumError
from sensorium.data.splits import assign_parts
from sensorium.modalities.molecule.parse import parse
from sensorium.modalities.molecule.sources.files import MoleculeFiles

SMILES = ["CCO", "c1ccccc1", "C(C", "", "[Na+].[Cl-]"]
TABLE = "smiles,active,size,name\nCCO,1,2.5,a\nc1ccccc1,,1,b\nC(C,0,,c\n,1,,d\n[Na+].[Cl-],0,7,e\n"


def written(folder, name, text):
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def values(source):
    return [source[i].values["molecule"] for i in range(len(source))]


@pytest.mark.parametrize("name", ["a.smi", "a.smi.gz", "a.ism"])
def test_lines_of_smiles_with_names(tmp_path, name):
    path = written(tmp_path, name, "CCO ethanol, 96 %\n\n# a remark\nc1ccccc1\tbenzene\r\nN\nO water")
    source = MoleculeFiles(path, labels={"called": "name"})
    assert values(source) == ["CCO", "c1ccccc1", "N", "O"]
    assert [source.key(i).labels.get("called") for i in range(4)] == ["ethanol, 96 %", "benzene", None, "water"]
    assert [source.key(i).id for i in range(4)] == ["0", "1", "2", "3"]
    assert source.fields == ("molecule",)


def test_the_first_line_is_a_record_unless_it_is_a_header(tmp_path):
    assert values(MoleculeFiles(written(tmp_path, "a.smi", "CCO\nN\n"))) == ["CCO", "N"]
    assert values(MoleculeFiles(written(tmp_path, "b.smi", "SMILES\tname\nCCO\nN\n"))) == ["CCO", "N"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.parquet"])
def test_tables(tmp_path, name):
    text = TABLE.replace(",", "\t") if "tsv" in name else TABLE
    path = written(tmp_path, name, text)
    if name == "a.parquet":
        rows = [[cell or None for cell in line.split(",")] for line in TABLE.splitlines()]
        columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
        columns["active"] = [None if v is None else int(v) for v in columns["active"]]
        columns["size"] = [None if v is None else float(v) for v in columns["size"]]
        pa.parquet.write_table(pa.table({n: list(v) for n, v in columns.items()}), path)
    source = MoleculeFiles(path, labels=["active", "size"], id="name")
    assert values(source) == [smiles or None for smiles in SMILES]
    assert [source.key(i).id for i in range(5)] == list("abcde")
    assert source.key(0).labels == {"active": 1, "size": 2.5}
    assert source.key(1).labels == {"size": 1}
    assert source.key(3).labels == {"active": 1}


def test_a_column_is_named_or_called_smiles(tmp_path):
    path = written(tmp_path, "a.csv", "SMILES,other\nCCO,N\n")
    assert values(MoleculeFiles(path)) == ["CCO"]
    assert values(MoleculeFiles(path, column="other")) == ["N"]
    with pytest.raises(SensoriumError, match="no column 'othr', did you mean 'other'"):
        MoleculeFiles(path, column="othr")
    with pytest.raises(SensoriumError, match="no column called 'smiles'; its columns are: CCO, N"):
        MoleculeFiles(written(tmp_path, "b.csv", "CCO,N\nO,F\n"))
    assert values(MoleculeFiles(str(tmp_path / "b.csv"), header=["smiles", "x"])) == ["CCO", "O"]


def test_quotes_in_cells_are_read(tmp_path):
    path = written(tmp_path, "a.csv", 'name,smiles\n"4-methoxy-N,N-dimethyl",CCO\n')
    assert MoleculeFiles(path, id="name")[0].id == "4-methoxy-N,N-dimethyl"


def sdf(*smiles):
    return [Chem.MolToMolBlock(Chem.MolFromSmiles(one)) for one in smiles]


@pytest.mark.parametrize("name", ["a.sdf", "a.sdf.gz"])
@pytest.mark.parametrize("last", ["$$$$\n", "$$$$", ""])
def test_a_corrupt_block_among_valid_ones(tmp_path, name, last):
    good, broken, other = sdf("CCO", "CCN", "c1ccccc1")
    broken = broken.replace("  3  2  0", " 99  2  0")
    properties = ["> <size>\n3\n\n>  <kind>  (1) \nalcohol\n\n", "", "> <size>\n6.5\n"]
    blocks = [
        f"{title}{block}{tail}"
        for title, block, tail in zip(("first", "", ""), (good, broken, other), properties, strict=True)
    ]
    source = MoleculeFiles(written(tmp_path, name, "$$$$\n".join(blocks) + last), labels=["size", "kind"])
    assert len(source) == 3
    assert [source.key(i).labels for i in range(3)] == [{"size": 3, "kind": "alcohol"}, {}, {"size": 6.5}]
    assert Chem.MolToSmiles(parse(source[0].values["molecule"])) == "CCO"
    assert Chem.MolToSmiles(parse(source[2].values["molecule"])) == "c1ccccc1"
    with pytest.raises(BadSample, match="cannot read the mol block"):
        parse(source[1].values["molecule"])


def test_a_molecule_is_located_in_its_file(tmp_path):
    lines = written(tmp_path, "a.smi", "C\nN\n")
    table = written(tmp_path, "b.csv", "name,SMILES\nx,O\ny,C(\n")
    source = MoleculeFiles([lines, table])
    assert [str(source.locate(i, "molecule")) for i in (1, 3)] == [
        f"{lines}, line 2",
        f"{table}, line 3, column 'SMILES'",
    ]


def test_an_unknown_property_is_refused(tmp_path):
    with pytest.raises(SensoriumError, match=r"None of the first blocks of .* has a property 'size'"):
        MoleculeFiles(written(tmp_path, "a.sdf", sdf("C")[0] + "$$$$\n"), labels=["size"])


def test_several_files_are_one_source(tmp_path):
    paths = [
        written(tmp_path, "a.smi", "C\nN\n"),
        written(tmp_path, "b.smi", ""),
        written(tmp_path, "c.csv", "smiles\nO\n"),
    ]
    source = MoleculeFiles(paths)
    assert [(source[i].id, source[i].values["molecule"]) for i in range(3)] == [
        ("a.smi/0", "C"),
        ("a.smi/1", "N"),
        ("c.csv/0", "O"),
    ]


def test_a_scaffold_split(tmp_path):
    rings = ["c1ccccc1" + "C" * n for n in range(8)] + ["C1CC1", "C1CCC1", "C(C"]
    source = MoleculeFiles(written(tmp_path, "a.smi", "\n".join(rings)), split="scaffold")
    keys = [source.key(i) for i in range(11)]
    assert [key.split for key in keys] == ["train"] * 8 + ["test", "val", None]
    assert {key.group for key in keys[:8]} == {"c1ccccc1"}
    parts = assign_parts(source, {"val": 0.1, "test": 0.1}, 0)
    assert parts["train"].tolist() == [*range(8), 10]
    assert [source.key(i).split for i in range(11)] == [key.split for key in keys]


def test_a_split_column(tmp_path):
    source = MoleculeFiles(written(tmp_path, "a.csv", "smiles,part\nC,train\nN,test\n"), split="part")
    assert [source.key(i).split for i in range(2)] == ["train", "test"]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.smi", "", "contains no molecules"),
        ("a.csv", "smiles\n", "contains no molecules"),
        ("a.csv", "", "is empty"),
        ("a.parquet", "nonsense", "cannot be read as PARQUET"),
        ("a.xyz", "C", "ends in none of .smi"),
        ("a.sdf", "", "contains no molecules"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, text, sentence):
    with pytest.raises(SensoriumError, match=sentence):
        MoleculeFiles(written(tmp_path, name, text))


def test_missing_and_truncated_files(tmp_path):
    with pytest.raises(SensoriumError, match="does not exist"):
        MoleculeFiles(str(tmp_path / "no.smi"))
    path = tmp_path / "cut.smi.gz"
    path.write_bytes(gzip.compress(b"CCO\n" * 1000)[:40])
    with pytest.raises(SensoriumError, match="cannot be read"):
        MoleculeFiles(str(path))
    with pytest.raises(SensoriumError, match="has no column 'size': lines of SMILES have a 'name'"):
        MoleculeFiles(written(tmp_path, "a.smi", "C\n"), labels=["size"])


def test_a_line_that_is_not_utf8_is_one_unreadable_record(tmp_path):
    source = MoleculeFiles(written(tmp_path, "a.smi", b"CCO\n\xff\xfe\nN\n"))
    with pytest.raises(BadSample, match="not UTF-8"):
        source[1]
    assert [source[i].values["molecule"] for i in (0, 2)] == ["CCO", "N"]


def test_a_source_can_be_pickled(tmp_path):
    source = MoleculeFiles(written(tmp_path, "a.smi", "C x\nN y\n"), labels=["name"])
    assert values(pickle.loads(pickle.dumps(source))) == ["C", "N"]
