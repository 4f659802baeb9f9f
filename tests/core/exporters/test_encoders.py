import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.errors import PluginError, RecipeError, RunError
from tests import toys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    recipe = toys.pair_recipe(train={"steps": 2, "accelerator": "cpu"})
    sensorium.fit(recipe, source=toys.vectors(), run_dir=folder, extensions=toys.extensions())
    return folder


def test_three_lines_give_the_features_of_the_run(run, tmp_path):
    extensions = toys.extensions()
    lines = sensorium.export(run, tmp_path / "out", extensions=extensions)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "a.safetensors",
        "b.safetensors",
        "encoders.json",
    ]

    assert {stat.filemode(path.stat().st_mode) for path in (tmp_path / "out").iterdir()} == {"-rw-r--r--"}

    class Told:
        load_encoder = staticmethod(lambda folder, name: sensorium.load_encoder(folder, name, extensions))

    names = {"sensorium": Told, "values": ["1 2 3 4 5 6 7 8", "8 7 6 5 4 3 2 1"]}
    with torch.no_grad():
        exec(lines, names)
    wanted = sensorium.load(run, extensions=extensions).embed(space="features", a=names["values"])["a"]
    torch.testing.assert_close(names["features"], wanted)
    joint = sensorium.load(run, extensions=extensions).embed(a=names["values"])["a"]
    torch.testing.assert_close(names["embeddings"].detach(), joint)
    assert joint.shape != wanted.shape
    assert json.loads((tmp_path / "out" / "encoders.json").read_text())["a"]["state"]["mean"] is not None


def test_another_process_embeds_in_the_joint_space_from_the_files_alone(run, tmp_path):
    extensions = toys.extensions()
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        sensorium.export(run, tmp_path / "out", extensions=extensions)
        code = f"""
import sensorium, torch
from tests import toys
modality, encoder = sensorium.load_encoder({str(tmp_path / "out")!r}, {name!r}, toys.extensions())
batch = modality.collate([modality.decode("1 2 3 4 5 6 7 8")])
with torch.no_grad():
    torch.save(encoder.joint_projection(encoder(batch).pooled), {str(tmp_path / name)!r})
"""
        root = Path(__file__).parents[3]
        subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"})
        wanted = sensorium.load(run, extensions=extensions).embed(**{name: ["1 2 3 4 5 6 7 8"]})[name]
        torch.testing.assert_close(torch.load(tmp_path / name), wanted)


def test_a_run_without_a_joint_space_has_no_projection(tmp_path):
    extensions = toys.extensions()
    recipe = toys.recipe(train={"steps": 2, "accelerator": "cpu"})
    sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=extensions)
    lines = sensorium.export(tmp_path / "run", tmp_path / "out", extensions=extensions)
    assert "projection" not in lines
    assert not hasattr(sensorium.load_encoder(tmp_path / "out", "a", extensions)[1], "joint_projection")


def test_what_is_not_there_is_named(run, tmp_path):
    extensions = toys.extensions()
    sensorium.export(run, tmp_path / "out", extensions=extensions)
    with pytest.raises(RunError, match="Name the encoder to load; there are: a, b"):
        sensorium.load_encoder(tmp_path / "out", extensions=extensions)
    with pytest.raises(RunError, match="no encoder 'c'"):
        sensorium.load_encoder(tmp_path / "out", "c", extensions=extensions)
    with pytest.raises(RunError, match="has no exported encoders"):
        sensorium.load_encoder(tmp_path, "a", extensions=extensions)
    with pytest.raises(RunError, match="not an empty folder"):
        sensorium.export(run, tmp_path / "out", extensions=extensions)
    with pytest.raises(PluginError, match="tflite"):
        sensorium.export(run, tmp_path / "other", "tflite", extensions=extensions)


def test_options_choose_modalities_and_the_dtype(run, tmp_path):
    extensions = toys.extensions()
    half = {"modalities": ["b"], "dtype": "float16"}
    sensorium.export(run, tmp_path / "half", options=half, extensions=extensions)
    sensorium.export(run, tmp_path / "whole", extensions=extensions)
    names = sorted(path.name for path in (tmp_path / "half").iterdir())
    assert names == ["README.md", "b.safetensors", "encoders.json"]
    kinds = {str(w.dtype) for w in load_file(tmp_path / "half" / "b.safetensors").values() if w.is_floating_point()}
    assert kinds == {"torch.float16"}
    (_, found), (_, wanted) = (sensorium.load_encoder(tmp_path / n, "b", extensions) for n in ("half", "whole"))
    for name, weight in wanted.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtyp": "float16"}, r"options.dtyp = 'float16': 'encoders' has no option 'dtyp', did you mean 'dtype'"),
        ({"dtype": "int8"}, r"options.dtype = 'int8' is not 'float32', 'float16' or 'bfloat16': of the weights"),
        ({"modalities": ["c"]}, r"names 'c', which the run has not.*there are: a, b"),
    ],
)
def test_a_wrong_option_is_told(run, tmp_path, options, said):
    with pytest.raises(RecipeError, match=said):
        sensorium.export(run, tmp_path / "out", options=options, extensions=toys.extensions())
