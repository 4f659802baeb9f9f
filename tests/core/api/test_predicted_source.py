"""Which source reads a path that is to be predicted, and with which options of the run's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from sensorium.api.predicted_source import source_words
from sensorium.errors import RecipeError
from sensorium.registration.discovery import load_extensions

REGISTRY = load_extensions().registry
TABLE = {"name": "table", "columns": {"timeseries": "x"}, "id": "key", "root": "/files", "encoding": "cp1252"}
MOLECULES = {"name": "molecules", "column": "drawn", "id": "key"}


def chosen(folder, own, path, part="all"):
    """Return the source of the overrides for a file, or a folder, that is there."""
    recipe = folder / "recipe.yaml"
    towers = {"timeseries": {"encoder": "dilated", "views": "plain"}}
    said = {"data": {"source": own}, "modalities": towers, "objective": "ts2vec", "train": {"steps": 1}}
    recipe.write_text(json.dumps(said))
    words = source_words(SimpleNamespace(recipe_file=recipe), folder / path, part, REGISTRY)
    assert words[0] == "data.source={}"
    return json.loads(words[1].removeprefix("data.source="))


@pytest.fixture
def there(tmp_path):
    for name in ("a.csv", "b.jsonl", "b.csv.gz", "b.smi", "b.sdf", "b.ts", "b.npz", "b.txt", "b.md", "b.png"):
        (tmp_path / name).write_text("{}" if "jsonl" in name else "")
    (tmp_path / "a.csv").write_text("key,x,drawn\n1,2,C\n")
    (tmp_path / "b.jsonl").write_text('{"key": "a", "x": 1, "drawn": "C"}\n')
    for name in ("images", "others"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("own", "path", "new"),
    [
        (TABLE, "a.csv", "b.jsonl"),
        (MOLECULES, "a.csv", "b.jsonl"),
        (MOLECULES, "a.csv", "b.sdf"),
        (MOLECULES, "b.smi", "a.csv"),
        ({"name": "series", "window": 8}, "b.ts", "b.npz"),
        ({"name": "corpus", "unit": "paragraphs"}, "b.txt", "b.md"),
        ({"name": "folder", "pattern": "x"}, "images", "others"),
    ],
)
def test_the_own_source_reads_paths_of_its_kind_with_its_options(there, own, path, new):
    assert chosen(there, {**own, "path": str(there / path)}, new) == {**own, "path": str(there / new)}
    assert chosen(there, {**own, "path": str(there / path)}, new, "test") == {**own, "path": str(there / new)}


def test_another_source_of_rows_has_the_options_that_both_know(there):
    own = {**TABLE, "name": "parquet", "path": str(there / "x.parquet"), "labels": ["kind"], "cache_mb": 8}
    del own["encoding"]
    expected = {key: own[key] for key in ("columns", "id", "root")}
    assert chosen(there, own, "b.jsonl") == {"name": "table", **expected, "path": str(there / "b.jsonl")}
    labeled = {"name": "table", **expected, "labels": ["kind"], "path": str(there / "b.jsonl")}
    assert chosen(there, own, "b.jsonl", "test") == labeled
    assert chosen(there, own, "others") == {"name": "folder", "path": str(there / "others")}


def test_how_a_file_is_read_holds_for_its_ending_alone(there):
    own = {**TABLE, "path": [str(there / "a.csv")], "format": "csv", "delimiter": ","}
    assert not {"format", "delimiter"} & set(chosen(there, own, "b.jsonl"))
    assert chosen(there, own, "a.csv")["delimiter"] == ","


def test_what_no_source_reads_is_refused(there):
    with pytest.raises(RecipeError, match=r"b\.png' is no table"):
        chosen(there, {**TABLE, "path": str(there / "a.csv")}, "b.png")
