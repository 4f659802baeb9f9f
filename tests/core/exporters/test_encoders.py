import json

import pytest
import torch

import sensorium
from sensorium.errors import PluginError, RunError
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
        "a.safetensors",
        "b.safetensors",
        "encoders.json",
    ]

    class Told:
        load_encoder = staticmethod(lambda folder, name: sensorium.load_encoder(folder, name, extensions))

    names = {"sensorium": Told, "values": ["1 2 3 4 5 6 7 8", "8 7 6 5 4 3 2 1"]}
    with torch.no_grad():
        exec(lines, names)
    wanted = sensorium.load(run, extensions=extensions).embed(space="features", a=names["values"])["a"]
    torch.testing.assert_close(names["features"], wanted)
    assert json.loads((tmp_path / "out" / "encoders.json").read_text())["a"]["state"]["mean"] is not None


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
    with pytest.raises(PluginError, match="onnx"):
        sensorium.export(run, tmp_path / "other", "onnx", extensions=extensions)
