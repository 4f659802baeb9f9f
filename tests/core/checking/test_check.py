"""A whole check, of folders, tables, recipes and records in memory, on toy modalities and on images with captions."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from sensorium.api.checking import check
from sensorium.cli.main import main
from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError, PluginError, RecipeError
from tests import toys


def images(root, count=24):
    rng = np.random.default_rng(0)
    for part, some in (("train", count), ("test", count // 3)):
        for i in range(some):
            folder = root / part / ("cat" if i % 3 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (20 + i, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
            (folder / f"{i:02}.txt").write_text(f"the {part} image {i}\n")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of images with captions: two unreadable, one caption missing, an image of test that train has too."""
    root = images(tmp_path_factory.mktemp("data"))
    (root / "train/cat/01.png").write_bytes((root / "train/cat/01.png").read_bytes()[:90])
    (root / "train/cat/02.txt").write_text("")
    (root / "train/cat/04.txt").unlink()
    (root / "test/dog/00.png").write_bytes((root / "train/cat/05.png").read_bytes())
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_is_reported_on(folder, workers):
    found = check(folder, ["data.val=0", f"data.workers={workers}", "data.max_bad=0.1"]).public()
    assert found["records"] == {"train": 24, "val": 0, "test": 8}
    image, text = found["modalities"]["image"], found["modalities"]["text"]
    assert image["values"] == {"train": 23, "val": 0, "test": 8}
    assert image["unreadable"] == {"train": 1, "val": 0, "test": 0}
    assert (text["missing"]["train"], text["unreadable"]["train"], text["values"]["test"]) == (1, 1, 8)
    assert image["facts"]["width"]["counts"] == {24.0: 31}
    assert (image["facts"]["height"]["least"], image["facts"]["height"]["most"]) == (20, 43)
    assert image["facts"]["format"]["counts"] == {"PNG": 31}
    assert image["facts"]["cropped"] == {"true": 29, "count": 31}
    assert image["duplicates"] == {
        "contents": 1,
        "records": 2,
        "across": 1,
        "within": 0,
        "pairs": [["test/dog/00.png", "train/cat/05.png"]],
    }
    assert text["duplicates"]["contents"] == 0
    assert found["labels"]["class"]["classes"]["dog"] == {"train": 8, "val": 0, "test": 3}
    assert (found["unreadable"]["records"], found["unreadable"]["allowed"]) == (2, 3)
    assert [v["record"] for v in found["unreadable"]["values"]] == ["train/cat/01.png", "train/cat/02.png"]


def test_the_report_fits_80_columns(folder):
    lines = str(check(folder, ["data.max_bad=0.1"])).splitlines()
    assert max(len(line) for line in lines if str(folder) not in line) <= 80  # a path is not broken
    for words in ("unreadable  2 of 32 records", "1 value stands in 2 records; 1 records of val or", "label class"):
        assert words in "\n".join(lines)


def test_the_program_prints_writes_and_says_when_a_training_would_stop(folder, tmp_path, capsys):
    out, table = tmp_path / "report.json", tmp_path / "unreadable.csv"
    for target, more, code in (
        (out, ["data.max_bad=0.1"], 0),
        (table, [], 4),
    ):
        with pytest.raises(SystemExit) as left:
            main(["check", str(folder), *more, "--out", str(target)])
        assert (left.value.code or 0) == code
    said = capsys.readouterr()
    assert "2 of 32 records are unreadable or have an unreadable value" in said.err
    assert "data.max_bad" in said.err
    assert "sensorium check" not in said.err
    assert json.loads(out.read_text())["unreadable"]["records"] == 2
    assert len(table.read_text().splitlines()) == 3


def test_a_recipe_is_checked_before_it_is_trained(folder, tmp_path, capsys):
    arguments = [f"data.source={{name: folder, path: {folder}}}", "data.val=0", "data.max_bad=0.1"]
    towers = [
        "modalities.image.modality={name: image, size: 16}",
        "modalities.text.modality={name: text, tokenizer: characters, length: 8}",
    ]
    with pytest.raises(SystemExit) as left:
        main(["train", "image-text", "--check", *arguments, *towers, "--run-dir", str(tmp_path / "run")])
    assert not left.value.code
    said = capsys.readouterr().out
    assert "checked     recipe image-text: 32 records" in said
    assert "cut at 8 tokens           all 30" in said
    assert not (tmp_path / "run").exists()


def test_a_table_whose_columns_have_other_names(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("note,molecule,kind\n" + "".join(f"words about {i},{'C' * i}O,{'ab'[i % 2]}\n" for i in range(40)))
    report = check(path, ["data.source.labels=[kind]"])
    assert {name: found.modality for name, found in report.modalities.items()} == {
        "note": "text",
        "molecule": "molecule",
    }
    assert any(note.startswith("field 'note' is read as text") for note in report.notes)
    chosen = check(path, ["data.source.columns={note: note}", "modalities.note.modality={name: text, length: 4}"])
    assert chosen.modalities["note"].facts["cut at 4 tokens"].true == 40
    assert not any("is read as" in note for note in chosen.notes)


def test_most_values_in_a_form_that_few_texts_have_count_more_than_all_as_text():
    smiles = ["CCO", "c1ccccc1", "CC(=O)O", "C1CC(", "N#CC"] * 8
    words = ["I am", "no", "carbon", "a dog", "CON"] * 8
    report = check(source={"compound": smiles, "name": words})
    assert {name: found.modality for name, found in report.modalities.items()} == {
        "compound": "molecule",
        "name": "text",
    }


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({"text": ["a b", "c", None], "price": [1.5, None, 2], "id": [1, 2, 3]}, "text"),
        (pd.DataFrame({"text": ["a b", "c", None], "price": [1.5, None, 2]}), "text"),
        ([{"text": "a b", "price": 1.5}, {"text": "c", "price": 2.0}, {"text": None, "price": 2.5}], "text"),
        (["a b", "c", "d e f"], "value"),
        (iter([{"text": "a b"}, {"text": "c"}, {"text": "d"}]), "text"),
    ],
    ids=["mapping", "frame", "records", "list", "stream"],
)
def test_records_in_memory_are_checked_without_a_recipe(source, field):
    report = check(source=source)
    assert list(report.modalities) == [field]
    assert any(note.startswith(f"field '{field}' is read as text") for note in report.notes) == (field != "text")


def test_texts_too_long_for_the_name_of_a_file_are_texts():
    report = check(source={"note": [f"word {i} " * 4000 for i in range(8)]})
    assert report.modalities["note"].modality == "text"


def test_an_array_in_memory_is_checked_without_a_recipe():
    report = check(source=np.random.default_rng(0).standard_normal((8, 2, 40)))
    assert any(note.startswith("field 'value' is read as ") for note in report.notes)


def test_a_field_that_no_modality_reads_is_said():
    source = ArraysSource({"text": ["a b"] * 4, "price": [1.5, 2.5, 3.5, 4.5]})
    report = check(source=source)
    assert list(report.modalities) == ["text"]
    assert any(note.startswith("field 'price' is read by no modality") for note in report.notes)
    with pytest.raises(RecipeError, match="No modality reads any field of the source"):
        check(source=ArraysSource({"price": [1.5, 2.5]}))


def test_a_folder_of_another_modality_than_the_name_of_its_field(tmp_path):
    for i in range(6):
        np.save(tmp_path / f"{i}.npy", np.arange(10.0 + i))
    report = check(tmp_path)
    assert report.modalities["image"].modality == "timeseries"
    assert report.modalities["image"].facts["time steps"].most == 15


def toy_check(source, **data):
    recipe = toys.recipe()
    recipe["data"] |= {"workers": 0, "val": 0.2, "test": 0.2, **data}
    return check(recipe, source=source, extensions=toys.extensions())


def test_any_modality_and_any_records_are_checked():
    report = toy_check(toys.vectors())
    assert report.records == len(toys.vectors())
    assert all(not any(found.missing.values()) for found in report.modalities.values())


def test_a_defect_of_a_modality_names_the_record(monkeypatch):
    monkeypatch.setattr(toys.VectorModality, "describe", lambda self, raw, example: 1 / 0)
    with pytest.raises(PluginError, match="failed to describe the record '0': ZeroDivisionError"):
        toy_check(toys.vectors())


def test_what_cannot_be_checked_is_one_sentence(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    for target, overrides, words in (
        ("flder", [], "did you mean 'folder'"),
        (tmp_path / "a.xyz", [], "is neither a recipe nor a table"),
        ("folder", [], "path"),
        ("folder", ["data.source.path=/nowhere"], "does not exist"),
        ("folder", ["data.sourc.path=."], "data.sourc"),
        (None, [], "Name what is to be checked"),
    ):
        with pytest.raises((RecipeError, DataError), match=words):
            check(target, overrides)
    with pytest.raises(RecipeError, match="has no field 'b'"):
        check(source=ArraysSource({"a": ["x"]}), overrides=["modalities.b.modality=text"])


def test_files_are_read_by_what_their_extensions_say_though_most_are_damaged(tmp_path):
    tone = np.sin(np.arange(4000) / 20).astype(np.float32)
    for i in range(8):
        soundfile.write(tmp_path / f"{i}.wav", tone, 8000)
        if i % 4:
            (tmp_path / f"{i}.wav").write_bytes((tmp_path / f"{i}.wav").read_bytes()[: 1000 + i])
    report = check(tmp_path, ["data.max_bad=1"])
    assert [found.modality for found in report.modalities.values()] == ["audio"]
    assert len(report.unreadable.values) == 6
