"""Parts by name from Python: built for a loop of one's own, registered in a session."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import sensorium
from sensorium import Encoder, Evaluator, Features, Objective, Outcome
from sensorium.errors import PluginError, RecipeError
from sensorium.registration import discovery
from sensorium.registration.discovery import load_extensions


@pytest.fixture(autouse=True)
def session(monkeypatch):
    """Start each test with a session in which nothing is registered."""
    monkeypatch.setattr(discovery, "_session", [])


class Mean(Encoder):
    """Mean of the pixels, mapped linearly."""

    def __init__(self, modality, dim: int = 8):
        super().__init__()
        self.dim, self.modality, self.map = dim, modality, nn.Linear(3, dim)

    def forward(self, batch):
        return Features(self.map(batch.pixels.float().mean((2, 3))))


class Unfinished(Evaluator):
    """Defines nothing."""


class Norm(Objective):
    """Norm of features."""

    def build(self, encoders):
        pass

    def forward(self, views, encode):
        return Outcome(encode(views)[0].pooled.norm())


def test_a_part_is_built_by_its_name_with_checked_options():
    assert sensorium.build("objectives", "simclr", temperature=0.2).temperature == 0.2
    assert sensorium.build("encoder", "vit", modality="image", width=64, heads=2, depth=1).dim == 64
    image = sensorium.build("modality", "image", size=16)
    assert sensorium.build("view", "simclr", image, views=3).views == 3
    assert sensorium.build("views", "simclr", modality=image, views=3).views == 3


@pytest.mark.parametrize(
    ("error", "arguments", "options", "said"),
    [
        (RecipeError, ("objective", "simclr"), {"temprature": 1.0}, "did you mean 'temperature'?"),
        (RecipeError, ("objective", "simclr"), {"temperature": "hot"}, "objective.temperature = 'hot' is not a number"),
        (PluginError, ("objective", "simcrl"), {}, "did you mean 'simclr'?"),
        (PluginError, ("objectiv", "simclr"), {}, "There is no kind of part 'objectiv', did you mean 'objective'?"),
        (PluginError, ("encoder", "vit"), {}, "The encoder 'vit' is built for a modality, none is given"),
        (PluginError, ("encoder", "vit"), {"modality": 3}, "is built for a modality, not 3"),
        (PluginError, ("command", "train"), {}, "A command is not built"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(error, arguments, options, said):
    with pytest.raises(error, match=said.replace("?", r"\?")):
        sensorium.build(*arguments, **options)


def test_what_is_registered_in_the_session_is_found_by_name():
    sensorium.register("encoder", "mean", Mean, modality="image")
    spec = load_extensions().registry.find("encoders", "mean", "image")
    assert (spec.plugin, spec.distribution, spec.summary) == ("session", "this session", Mean.__doc__)
    assert spec.public()["target"] == f"{__name__}:Mean"
    assert load_extensions().find("session").registered == {"encoders": ["mean"]}
    assert isinstance(sensorium.build("encoder", "mean", modality="image", dim=4), Mean)


def test_a_name_registered_again_stands_for_the_new_class():
    sensorium.register("objective", "norm", Norm)

    class Other(Norm):
        pass

    sensorium.register("objective", "norm", Other)
    assert type(sensorium.build("objective", "norm")) is Other
    assert load_extensions().find("session").registered == {"objectives": ["norm"]}


def test_discovery_with_arguments_knows_nothing_of_the_session():
    sensorium.register("objective", "norm", Norm)
    assert "norm" not in load_extensions({}, []).registry.names("objectives")


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("encoder", "vit", Mean), {"modality": "image"}, "is registered by plugin 'image'"),
        (("encoder", "vit", Mean), {}, "is registered by plugin 'image'"),
        (("encoder", "mean", nn.Linear), {}, "Linear is not a subclass of sensorium.Encoder."),
        (("encoder", "mean", Mean), {"modality": "imag"}, "there is no modality 'imag', did you mean 'image'"),
        (("encoder", "Mean", Mean), {}, "as 'Mean': a name has lowercase letters"),
        (("objective", "norm", Norm), {"modality": "image"}, "only encoders and view generators belong to a modality"),
        (("evaluator", "u", Unfinished), {}, "Unfinished does not define chance, fit, measure."),
        (("recipe", "r", {}), {}, "a recipe is handed to fit as it is"),
        (("command", "c", print), {}, "a process of its own"),
    ],
)
def test_what_cannot_be_registered_is_said_in_one_sentence_and_changes_nothing(arguments, options, said):
    with pytest.raises(PluginError, match=said):
        sensorium.register(*arguments, **options)
    assert all(plugin.name != "session" for plugin in load_extensions().plugins)


def test_a_part_of_the_session_trains_in_a_recipe_and_its_run_says_how_to_register_it_again(tmp_path, monkeypatch):
    sensorium.register("encoder", "mean", Mean, modality="image")
    recipe = {
        "data": {"batch": 8, "workers": 0},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 16},
                "views": "simclr",
                "encoder": {"name": "mean", "dim": 4},
            }
        },
        "objective": "simclr",
        "train": {"steps": 1},
    }
    images = torch.randint(0, 255, (32, 3, 16, 16), dtype=torch.uint8).numpy()
    model = sensorium.fit(recipe, source=images, run_dir=tmp_path / "run", evaluate=False)
    assert model.embed(image=images[:2], space="features")["image"].shape == (2, 4)
    (noted,) = json.loads((tmp_path / "run" / "run.json").read_text())["session"]
    assert (noted["kind"], noted["name"], noted["target"]) == ("encoders", "mean", f"{__name__}:Mean")
    monkeypatch.setattr(discovery, "_session", [])
    remedy = rf"as the class {__name__}.Mean of .*test_parts.py; define it and call "
    remedy += r"sensorium.register\('encoder', 'mean', Mean, modality='image'\), then open the run again"
    for reading in (
        sensorium.load,
        lambda run: sensorium.evaluate(run, ["knn"]),
        lambda run: sensorium.fit(resume=run),
    ):
        with pytest.raises(PluginError, match=f"There is no encoder for modality 'image' named 'mean': .*{remedy}"):
            reading(tmp_path / "run")
    sensorium.register("encoder", "mean", Mean, modality="image")
    opened = sensorium.load(tmp_path / "run")
    assert torch.equal(opened.embed(image=images[:2])["image"], model.embed(image=images[:2])["image"])


@pytest.mark.slow
@pytest.mark.parametrize("override", ["data.workers=2", "train.devices=2"])
def test_a_script_trains_with_its_own_parts_in_loader_workers_and_on_two_ranks(override, tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("own_parts.py")), str(tmp_path), override]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("first weights")]
    assert len(set(told)) == 1, "all ranks begin with the modules of rank 0"
    assert len(told) == (2 if "devices" in override else 1)
