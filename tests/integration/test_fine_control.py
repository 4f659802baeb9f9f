"""Trainings with adapters, rates by layer, frozen blocks and gradient checkpointing, from start to files."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.blocks.lora import is_adapted, is_factor
from sensorium.data.arrays import ArraysSource
from sensorium.errors import Interrupted, RunError, SensoriumError
from sensorium.optimizers.groups import trainable
from tests import toys
from tests.integration.test_resume import digest, run

SMALL = {
    "mae": {"width": 16, "depth": 1, "heads": 2},
    "data2vec": {},
    "byol": {"width": 16, "dim": 8},
    "simclr": {"width": 16, "dim": 8},
}
LORA = {"rank": 2, "alpha": 8, "targets": "attention", "norms": True}


def images(count=24):
    rng = np.random.default_rng(0)
    return ArraysSource(
        {"image": rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)},
        labels={"class": [i % 3 for i in range(count)]},
    )


def recipe(objective="mae", train=None, **tower):
    vit = {"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2, "drop_path": 0.1}
    return {
        "name": "fine",
        "data": {"batch": 8, "val": 0.0, "test": 0.25, "workers": 0},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 8},
                "views": "plain" if objective in ("mae", "data2vec") else "simclr",
                "encoder": vit,
                **tower,
            }
        },
        "objective": {"name": objective, **SMALL[objective]},
        "optimizer": {"lr": 0.02},
        "train": {"steps": 6, "accelerator": "cpu", **(train or {})},
        "checkpoint": {"every": 1.0, "keep": 9},
        "log": {"loggers": {}},
    }


def trained(folder, *args, **kwargs):
    return sensorium.fit(recipe(*args, **kwargs), source=images(), run_dir=folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a run to start from."""
    return trained(tmp_path_factory.mktemp("base") / "run").run.folder


@pytest.fixture(scope="module")
def adapted(base, tmp_path_factory):
    """Return the model of a run that adapts another one."""
    return trained(tmp_path_factory.mktemp("adapted") / "run", weights=str(base), lora=LORA, layer_decay=0.7)


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_a_model_is_plain_and_its_adapter_lies_beside_it(base, adapted):
    encoder = adapted.encoder("image")
    assert not is_adapted(encoder)
    before, after = weights(base), weights(adapted.run.folder)
    assert before.keys() == after.keys()
    of_encoder = [name for name in before if name.startswith("encoders.")]
    moved = {name for name in of_encoder if not torch.equal(before[name], after[name])}
    assert moved == {name for name in of_encoder if ("attn." in name and name.endswith("weight")) or "norm" in name}
    adapters = load_file(adapted.run.folder / "model" / "adapters.safetensors")
    assert all(map(is_factor, adapters))
    key = "encoders.image.blocks.0.attn.qkv"
    update = adapters[f"{key}.lora_weight.B"] @ adapters[f"{key}.lora_weight.A"] * (LORA["alpha"] / LORA["rank"])
    torch.testing.assert_close(after[f"{key}.weight"], before[f"{key}.weight"] + update)
    assert update.abs().max() > 1e-3
    assert not (base / "model" / "adapters.safetensors").exists()


def test_every_way_to_open_a_run_gives_the_same_features(adapted, tmp_path):
    values = [images()[i].values["image"] for i in range(4)]
    wanted = adapted.embed(image=values)["image"]
    run = adapted.run.folder
    for which in ("final", "last"):
        opened = sensorium.load(run, which, device="cpu")
        assert not is_adapted(opened.learner)
        torch.testing.assert_close(opened.embed(image=values)["image"], wanted, rtol=1e-5, atol=1e-5)
    sensorium.export(run, tmp_path / "out")
    modality, encoder = sensorium.load_encoder(tmp_path / "out")
    assert not is_adapted(encoder)
    assert "lora" not in (tmp_path / "out" / "encoders.json").read_text()
    features = encoder(modality.collate([modality.decode(value) for value in values])).pooled
    torch.testing.assert_close(features.detach(), adapted.embed(image=values, space="features")["image"])
    started = sensorium.weights.read_weights(run, "image")
    assert started.keys() == encoder.state_dict().keys()


def test_run_json_and_the_log_say_how_much_is_trained(base, adapted):
    run = adapted.run
    counts = json.loads(run.status_file.read_text())["parameters"]
    factors = 2 * 2 * (8 + 24 + 8 + 8)
    assert counts["image"]["trained"] == factors + 5 * 2 * 8
    assert counts["image"]["all"] == factors + sum(w.numel() for n, w in weights(base).items() if n.startswith("enc"))
    assert f"parameters of image {factors + 80:,} of " in (run.folder / "train.log").read_text()
    assert "parameters of image" not in (base / "train.log").read_text()


def interrupted(folder, **kwargs):
    """Train to the middle, then to the end; return the weights of the last checkpoint."""

    class Stop(sensorium.Callback):
        def after_step(self, training, outcome, loss):
            if training.step == 3 and not (folder / "stopped").exists():
                (folder / "stopped").touch()
                raise Interrupted("stopped by the test", 15)

    with pytest.raises(Interrupted):
        sensorium.fit(recipe(**kwargs), source=images(), run_dir=folder, callbacks=Stop())
    sensorium.fit(resume=folder, source=images(), callbacks=Stop())
    return state_of(folder)


def state_of(folder):
    state = torch.load(folder / "checkpoints" / "step-000000006.ckpt", weights_only=True)
    return {**state["learner"], **{f"average {k}": v for k, v in state["extra"].get("average", {}).items()}}


@pytest.mark.parametrize(
    ("objective", "settings", "train"),
    [
        ("data2vec", {"lora": LORA, "layer_decay": 0.5}, {"ema": 0.9}),
        ("byol", {"frozen": 1, "unfreeze": [0.2, 0.8]}, {"gradient_checkpointing": True, "accumulate": 2}),
    ],
)
def test_a_resumed_training_is_bit_equal(objective, settings, train, base, tmp_path):
    settings = {"objective": objective, "weights": str(base), "train": train, **settings}
    whole = trained(tmp_path / "whole", **settings).run.folder
    resumed, wanted = interrupted(tmp_path / "parts", **settings), state_of(whole)
    assert resumed.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(tensor, resumed[name]), name
    assert all(torch.equal(w, weights(tmp_path / "parts")[n]) for n, w in weights(whole).items())


def test_a_teacher_and_an_average_are_those_of_merged_weights(base, tmp_path):
    model = trained(tmp_path / "run", "byol", {"ema": 0.5}, weights=str(base), lora=LORA)
    names = set(weights(tmp_path / "run"))
    assert not any(map(is_factor, names))
    state = torch.load(tmp_path / "run" / "checkpoints" / "step-000000006.ckpt", weights_only=True)
    assert not [name for name in state["learner"] if name.startswith("objective.teacher") and is_factor(name)]
    assert not [name for name in state["extra"]["average"] if is_factor(name)]
    torch.testing.assert_close(
        sensorium.load(tmp_path / "run", "last", device="cpu").learner.state_dict(), model.learner.state_dict()
    )
    with pytest.raises(RunError, match=r"average of its adapted weights \(train.ema\), which is no low-rank adapter"):
        sensorium.export(tmp_path / "run", tmp_path / "out", "lora")


def test_an_average_without_an_adapter_is_no_merged_one(base, tmp_path):
    trained(tmp_path / "run", "byol", {"ema": 0.5}, weights=str(base))
    with pytest.raises(RunError, match="The run has no adapter to export: train one with"):
        sensorium.export(tmp_path / "run", tmp_path / "out", "lora")


def test_an_adapter_is_exported_in_the_layout_of_peft(base, adapted, tmp_path):
    lines = sensorium.export(adapted.run.folder, tmp_path / "out", "lora")
    assert lines.startswith("adapted = peft.PeftModel.from_pretrained(base")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 8)
    assert config["base_model_name_or_path"] == str(base)
    maps = ["blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.1.attn.qkv", "blocks.1.attn.proj"]
    assert config["target_modules"] == maps
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert set(tensors) == {f"base_model.model.{name}.lora_{side}.weight" for name in maps for side in "AB"}
    shutil.rmtree(tmp_path / "out")
    sensorium.export(adapted.run.folder, tmp_path / "out", "lora", options={"root": "blocks"})
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["target_modules"][0] == "0.attn.qkv"
    for what, options, sentence in (
        (
            adapted.run.folder,
            {"root": "model"},
            "'root' is 'model', but the adapted map blocks.0.attn.* is not in it",
        ),
        (base, {}, "has no adapter to export: train one with modalities.NAME.lora"),
    ):
        with pytest.raises(SensoriumError, match=sentence):
            sensorium.export(what, tmp_path / sentence[:6].strip("'"), "lora", options=options)


def test_a_training_goes_on_from_a_run_with_adapters(adapted, tmp_path):
    """By warm start from its checkpoint, and by its weights; both take the merged weights."""
    started = {}

    class First(sensorium.Callback):
        def before_training(self, training):
            started.update({n: w.clone() for n, w in training.learner.encoders["image"].state_dict().items()})

    wanted = adapted.encoder("image").state_dict()
    for changes in ({"train": {"warm_start": str(adapted.run.folder)}}, {"weights": str(adapted.run.folder)}):
        folder = tmp_path / next(iter(changes))
        sensorium.fit(recipe(**changes), source=images(), run_dir=folder, callbacks=First())
        for name, tensor in wanted.items():
            torch.testing.assert_close(started[name], tensor, rtol=1e-5, atol=1e-6)


def test_finetuning_takes_the_merged_encoder_and_rates_by_layer(adapted, tmp_path):
    overrides = ["finetune.epochs=1", "finetune.seeds=1", "finetune.layer_decay=0.5", "finetune.trees=5"]
    done = sensorium.finetune(
        adapted.run.folder, overrides, source=images(), run_dir=tmp_path / "tuned", start="trained", device="cpu"
    )
    assert not (tmp_path / "tuned" / "model" / "adapters.safetensors").exists()
    assert len(done.predictor.predict([images()[0].values["image"]])) == 1


def test_only_what_is_trained_changes(base, tmp_path):
    model = trained(tmp_path / "run", weights=str(base), frozen=1)
    before, after = weights(base), weights(tmp_path / "run")
    for name in before:
        if name.startswith("encoders.image."):
            is_frozen = name.startswith(("encoders.image.embed", "encoders.image.blocks.0"))
            assert torch.equal(before[name], after[name]) == is_frozen, name
    assert trainable(model.learner)
    assert "frozen to block 1" in (tmp_path / "run" / "train.log").read_text()


def test_frozen_random_weights_are_warned_of(base, caplog, tmp_path):
    trained(tmp_path / "random", lora=LORA, train={"steps": 1})
    assert "modalities.image.lora keeps weights of the encoder as they are, and they are random" in caplog.text
    caplog.clear()
    trained(tmp_path / "warm", frozen=1, train={"steps": 1, "warm_start": str(base)})
    assert "they are random" not in caplog.text


def test_a_pretrained_trunk_waits_until_new_heads_have_settled(base, tmp_path):
    before, same = weights(base), {}

    class Look(sensorium.Callback):
        def after_step(self, training, outcome, loss):
            state = training.learner.state_dict()
            own = [name for name in state if name.startswith("encoders.")]
            same[training.step] = all(torch.equal(state[name], before[name]) for name in own)

    settings = recipe(weights=str(base), unfreeze=[0.5, 0.5])
    sensorium.fit(settings, source=images(), run_dir=tmp_path / "run", callbacks=Look())
    assert same == {1: True, 2: True, 3: True, 4: False, 5: False, 6: False}


def test_blocks_are_computed_again_under_a_gradient_cache_with_the_same_draws(base, tmp_path):
    cached = {"accumulate": 2, "gradient_cache": True}
    states = []
    for recomputed in (False, True):
        train = {**cached, "gradient_checkpointing": recomputed}
        trained(tmp_path / str(recomputed), "simclr", train, weights=str(base), lora=LORA)
        states.append(weights(tmp_path / str(recomputed)))
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
def test_two_ranks_with_adapters_resume_bit_equal_and_fsdp_agrees(tmp_path):
    """Adapters of an encoder with batch norm, under DDP and FSDP, from a training in a process to its files."""
    found = {}
    for strategy in ("ddp", "fsdp"):
        train = {"epochs": 4, "accelerator": "cpu", "devices": 2, "strategy": strategy}
        asked = toys.recipe(objective="queue", train=train, checkpoint={"every": 0.5, "keep": 2})
        asked["modalities"]["a"]["lora"] = {"rank": 2, "bias": True}
        folder = tmp_path / strategy
        assert run(recipe=asked, run_dir=str(folder), term_at=5).returncode == 143
        resumed = run(recipe=asked, resume=str(folder))
        assert resumed.returncode == 0, resumed.stderr
        if strategy == "ddp":
            assert digest(run(recipe=asked, run_dir=str(tmp_path / "whole"))) == digest(resumed)
        found[strategy] = weights(folder)
        assert load_file(folder / "model" / "adapters.safetensors")
    assert found["ddp"].keys() == found["fsdp"].keys()
    assert not any(map(is_factor, found["ddp"]))
    for name, tensor in found["ddp"].items():
        torch.testing.assert_close(found["fsdp"][name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
