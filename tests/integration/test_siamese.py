"""Two fields of one modality that share an encoder, from the recipe to what is done with the run."""

import json

import pytest
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.training import loop
from tests import toys

SOURCE = {"missing": 0.2}


def recipe_of(objective, **changes):
    towers = {
        "a": {"modality": "vector", "views": {"name": "noise", "views": 1}, "encoder": {"name": "mlp", "dropout": 0.0}},
        "b": {"views": {"name": "noise", "views": 1}, "encoder": {"share": "a"}},
    }
    return toys.recipe(modalities=towers, objective=objective, **changes)


def known():
    return {"source": toys.vectors(count=120, **SOURCE), "extensions": toys.extensions()}


@pytest.fixture(scope="module", params=["clip", "simclr", "byol"])
def run(request, tmp_path_factory):
    """A run of a cross-modal objective, and of two of one modality, whose views the towers are."""
    folder = tmp_path_factory.mktemp("siamese") / request.param
    options = {"clip": {"dim": 8}, "simclr": {"width": 32, "dim": 8}, "byol": {"width": 32, "dim": 8}}[request.param]
    evaluate = {"evaluators": {"retrieval": {"positives": "record"}}, "batch": 8}
    recipe = recipe_of({"name": request.param, **options}, evaluate=evaluate) | {
        "train": {"steps": 12, "accelerator": "cpu", "ema": 0.9},
        "checkpoint": {"every": 1},
    }
    sensorium.fit(recipe, run_dir=folder, **known())
    return folder


def test_weights_are_written_once(run):
    names = load_file(run / "model" / "model.safetensors")
    assert {name.split(".")[1] for name in names if name.startswith("encoders.")} == {"a"}
    assert not [name for name in names if name.startswith("objective.project.b")]


def test_both_sides_are_embedded_by_the_same_weights(run, tmp_path):
    model = sensorium.load(run, extensions=toys.extensions(), device="cpu")
    raw = toys.vectors(count=120)[3].values["a"]
    for space in ("embedding", "features"):
        vectors = model.embed(a=[raw], b=[raw], space=space)
        torch.testing.assert_close(vectors["a"], vectors["b"], rtol=0, atol=0)
    assert sensorium.embed(run, tmp_path / "v.npz", **known()) == 120
    found = sensorium.search(run, raw, by="b", target="a", count=1, **known())
    assert found[0].score == pytest.approx(1.0, abs=0.01)
    assert "b: that of a" in repr(model)


def test_retrieval_between_the_towers_is_measured(run):
    rows = json.loads((run / "evaluations" / "retrieval.json").read_text())["rows"]
    assert {"a->b R@1", "b->a R@1"} <= rows["trained"]["metrics"].keys()


def test_the_run_goes_on_from_its_checkpoint(run, tmp_path):
    state = sensorium.load(run, "last", extensions=toys.extensions(), device="cpu").learner.state_dict()
    final = sensorium.load(run, extensions=toys.extensions(), device="cpu").learner.state_dict()
    assert state.keys() == final.keys()
    for name, tensor in final.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


def test_each_side_can_be_exported_and_read_alone(run, tmp_path):
    sensorium.export(run, tmp_path / "out", extensions=toys.extensions())
    made = {name: sensorium.load_encoder(tmp_path / "out", name, extensions=toys.extensions()) for name in ("a", "b")}
    raw = toys.vectors(count=120)[3].values["a"]
    vectors = [encoder(modality.collate([modality.decode(raw)])).pooled for modality, encoder in made.values()]
    torch.testing.assert_close(*vectors, rtol=0, atol=0)


def test_other_runs_begin_with_the_shared_weights(run, tmp_path):
    apart = recipe_of({"name": "clip", "dim": 8})
    apart["modalities"]["b"] = dict(apart["modalities"]["a"])
    apart["train"] = {"steps": 1, "accelerator": "cpu", "warm_start": str(run)}
    apart["optimizer"] = {"lr": 1e-30, "weight_decay": 0.0}
    begun = sensorium.fit(apart, run_dir=tmp_path / "apart", **known())
    shared = sensorium.load(run, extensions=toys.extensions(), device="cpu").learner.encoder("a").net[0].weight
    for name in ("a", "b"):
        torch.testing.assert_close(begun.learner.encoder(name).net[0].weight, shared)


def test_a_side_can_be_fine_tuned(run, tmp_path):
    if "clip" not in run.name:
        return
    words = [
        "finetune.modality=b",
        "finetune.epochs=1",
        "finetune.seeds=1",
        "finetune.labels=[class]",
        "finetune.trees=5",
    ]
    done = sensorium.finetune(run, words, start="trained", run_dir=tmp_path / "tuned", device="cpu", **known())
    again = sensorium.load_predictor(tmp_path / "tuned", extensions=toys.extensions(), device="cpu")
    raws = [record.values["b"] for record in (known()["source"][i] for i in range(20)) if record.values.get("b")]
    assert again.predict(raws) == done.predictor.predict(raws)


def test_a_shared_encoder_is_frozen_and_unfrozen_for_both(tmp_path):
    for name, keys in {"frozen": {"frozen": True}, "unfreezing": {"unfreeze": [0.0, 0.5]}}.items():
        recipe = recipe_of({"name": "clip", "dim": 8}) | {"train": {"steps": 6, "accelerator": "cpu"}}
        recipe["modalities"]["a"] |= keys
        model = sensorium.fit(recipe, run_dir=tmp_path / name, **known())
        first = model.plan.learner().encoder("b").net[0].weight
        moved = not torch.equal(model.learner.encoder("b").net[0].weight, first)
        assert moved == (name == "unfreezing")


def test_records_that_lack_a_side_are_no_pair_of_views(tmp_path, monkeypatch):
    recipe = recipe_of({"name": "simclr", "width": 32, "dim": 8}) | {"train": {"steps": 1, "accelerator": "cpu"}}
    recipe["data"] |= {"batch": 120, "val": 0.0, "test": 0.0}
    seen = []
    take_step = loop.take_step

    def noted(t, step, parts):
        seen.extend(len(part) for part in parts)
        return take_step(t, step, parts)

    monkeypatch.setattr(loop, "take_step", noted)
    sensorium.fit(recipe, run_dir=tmp_path / "run", **known())
    source = known()["source"]
    assert seen == [sum(source[i].values.get("b") is not None for i in range(120))]
