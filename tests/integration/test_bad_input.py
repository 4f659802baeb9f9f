"""What users get wrong: one clear sentence, a non-zero exit code, no traceback, and nothing lost."""

import numpy as np
import pytest
import yaml
from PIL import Image

from sensorium.cli.main import main
from tests.unreadable import unreadable

TOWERS = {
    "image": {
        "modality": {"name": "image", "size": 16},
        "views": "random-resized-crop",
        "encoder": {"name": "cnn", "width": 8, "depth": 2},
    },
    "text": {
        "modality": {"name": "text", "tokenizer": "characters", "length": 16},
        "views": "plain",
        "encoder": {"name": "transformer", "width": 16, "depth": 1, "heads": 2},
    },
}


def pictures(folder, count=24, captions=True):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / f"{i:02}.jpg")
        if captions:
            (folder / f"{i:02}.txt").write_text(f"picture {i}\n")
    return folder


def write_recipe(tmp_path, source, **changes):
    recipe = {
        "data": {"source": source, "batch": 4, "workers": 0, "val": 0, "test": 0, "max_bad": 0.2},
        "modalities": TOWERS,
        "objective": {"name": "clip", "dim": 8},
        "train": {"steps": 2, "accelerator": "cpu"},
        "log": {"loggers": {}},
    }
    for key, value in changes.items():
        recipe[key] = {**recipe.get(key, {}), **value}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


def run(capsys, *arguments):
    """Return exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return left.value.code or 0, said.out, said.err


def error(capsys, *arguments):
    """Return the one sentence of a command that must fail."""
    code, _, err = run(capsys, *arguments)
    assert code not in (0, 70)
    sentences = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1
    return sentences[0]


def train(tmp_path, recipe, *more):
    return ["train", recipe, "--run-dir", str(tmp_path / "run"), *more]


CAPTIONED = {"name": "folder", "captions": "text"}


def test_what_is_right_trains(tmp_path, capsys):
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(pictures(tmp_path / "data"))})
    code, out, _ = run(capsys, *train(tmp_path, recipe))
    assert code == 0
    assert str(tmp_path / "run") in out


def test_a_missing_folder(tmp_path, capsys):
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(tmp_path / "nowhere")})
    assert "nowhere" in error(capsys, *train(tmp_path, recipe))


def test_a_folder_without_readable_records(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(tmp_path / "data")})
    assert str(tmp_path / "data") in error(capsys, *train(tmp_path, recipe))


def test_a_table_without_the_named_column(tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("file,caption\na.jpg,hello\n")
    source = {"name": "table", "path": str(tmp_path / "pairs.csv"), "columns": {"image": "file", "text": "captoin"}}
    sentence = error(capsys, *train(tmp_path, write_recipe(tmp_path, source)))
    assert "captoin" in sentence
    assert "caption" in sentence


def test_truncated_pictures_and_empty_captions_are_skipped_and_named(tmp_path, capsys):
    folder = pictures(tmp_path / "data")
    (folder / "03.jpg").write_bytes((folder / "03.jpg").read_bytes()[:200])
    (folder / "05.txt").write_text("")
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(folder)}, train={"steps": 12})
    code, _, err = run(capsys, *train(tmp_path, recipe))
    assert code == 0
    bad = unreadable(tmp_path / "run")
    assert {entry["record"].split("#")[0] for entry in bad} == {"03.jpg", "05.jpg"}
    assert "03.jpg" in err
    assert "caption" in next(entry["reason"] for entry in bad if "05" in entry["record"])


def test_too_many_bad_records_stop_the_run(tmp_path, capsys):
    folder = pictures(tmp_path / "data")
    for i in range(12):
        (folder / f"{i:02}.jpg").write_bytes(b"not a picture")
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(folder)}, train={"steps": 30})
    sentence = error(capsys, *train(tmp_path, recipe))
    assert "data.max_bad" in sentence


def test_a_caption_of_ten_thousand_words_is_cut(tmp_path, capsys):
    folder = pictures(tmp_path / "data")
    (folder / "00.txt").write_text("word " * 10_000)
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(folder)}, train={"steps": 6})
    assert run(capsys, *train(tmp_path, recipe))[0] == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stps=3", ["train.stps", "did you mean 'steps'"]),
        ("objective.temprature=1.0", ["objective.temprature", "'clip'", "did you mean 'temperature'"]),
        ("objective.dim=wide", ["objective.dim", "'wide'"]),
        ("objective.name=clpi", ["'clpi'", "did you mean 'clip'"]),
        ("modalities.text.encoder.name=cnn", ["'cnn'", "for modality 'image'", "transformer"]),
        ("modalities.text.views.name=noisy", ["1 view", "modalities.text.views", "plain"]),
        ("objective={name: simclr}", ["takes one modality", "image, text", "clip"]),
        ("train.precision=16-mixed", ["train.precision", "needs a GPU", "bf16-mixed"]),
        ("train.accelerator=mps", ["train.accelerator", "no such device", "cpu"]),
        ("modalities.text.field=caption", ["caption", "text"]),
        ("data.batch=4000", ["data.batch", "4000"]),
        ("plugins=[rockets]", ["'rockets'", "not loaded"]),
    ],
)
def test_a_recipe_that_does_not_fit(tmp_path, capsys, override, words):
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(pictures(tmp_path / "data"))})
    sentence = error(capsys, *train(tmp_path, recipe, override))
    for word in words:
        assert word in sentence


def test_incompatible_parts_fail_before_any_data_is_read(tmp_path, capsys):
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(tmp_path / "nowhere")})
    sentence = error(capsys, *train(tmp_path, recipe, "modalities.text.views.name=noisy"))
    assert "modalities.text.views" in sentence
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_exists(tmp_path, capsys):
    recipe = write_recipe(tmp_path, {**CAPTIONED, "path": str(pictures(tmp_path / "data"))})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    sentence = error(capsys, *train(tmp_path, recipe))
    assert "--run-dir" in sentence
    assert "--resume" in sentence
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("command", ["evaluate", "train --resume"])
def test_a_folder_that_is_no_run(tmp_path, capsys, command):
    assert "is not a run folder" in error(capsys, *command.split(), str(tmp_path))


def test_debug_shows_the_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path), "--debug"])
    assert "Traceback" in capsys.readouterr().err
