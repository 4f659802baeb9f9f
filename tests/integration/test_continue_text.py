"""The recipe continue-text, made small: from a folder of transformers to a run that needs its weights no more."""

import pytest
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.errors import RecipeError
from sensorium.modalities.text.samples import tiny_transformer

transformers = pytest.importorskip("transformers")
TEXTS = [f"the {color} {animal} sleeps" for color in ("red", "old", "tall", "wet") for animal in ("cat", "dog", "hen")]
SMALL = [
    "modalities.text.modality.length=16",
    "train={steps: 2, accelerator: cpu}",
    "optimizer.lr=1e-3",
    "data={batch: 4, workers: 0}",
    "log.loggers={}",
    "evaluate.evaluators={}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT with the head of masked language modeling, and its tokenizer."""
    path = tmp_path_factory.mktemp("bert")
    sample = tiny_transformer()["model"]
    transformers.AutoTokenizer.from_pretrained(sample).save_pretrained(path)
    torch.manual_seed(0)
    transformers.BertForMaskedLM(transformers.AutoConfig.from_pretrained(sample)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return path


def overrides(folder, texts, *more):
    at = [f"modalities.text.encoder.model={folder}", f"modalities.text.modality.tokenizer=transformers:{folder}"]
    return [*SMALL, f"data.source={{name: corpus, path: {texts}, unit: lines}}", *at, *more]


def test_a_run_goes_on_from_a_folder_and_its_head_and_needs_only_the_config_later(folder, texts, tmp_path):
    model = sensorium.fit("continue-text", overrides(folder, texts), run_dir=tmp_path / "run")
    before = load_file(folder / "model.safetensors")
    after = model.encoder("text").model.state_dict()
    moved = {name: (after[name] - before[f"bert.{name}"]).abs().max().item() for name in after}
    assert 0 < max(moved.values()) < 0.01, "it starts from the weights of the folder"
    name = "cls.predictions.transform.dense.weight"
    head = model.learner.objective.head.model.get_parameter(name)
    assert 0 < (head - before[name]).abs().max() < 0.01, "the head of the file goes on"
    kept = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "elsewhere")
    try:
        opened = sensorium.load(tmp_path / "run")
        assert torch.equal(opened.embed(text=TEXTS)["text"], model.embed(text=TEXTS)["text"])
    finally:
        (folder / "elsewhere").rename(folder / "model.safetensors")
    assert kept.keys() == before.keys()


def test_a_tower_may_start_at_random_and_a_sentence_encoder_takes_simcse(folder, texts, tmp_path):
    changes = overrides(
        folder, texts, "objective=simcse", "modalities.text.views=dropout", "modalities.text.weights=random"
    )
    model = sensorium.fit("continue-text", changes, run_dir=tmp_path / "run")
    assert model.plan.started_from == {}


def test_adapters_and_recomputed_blocks_train_a_text_model(folder, texts, tmp_path):
    changes = overrides(folder, texts, "modalities.text.lora={rank: 2}", "train.gradient_checkpointing=true")
    model = sensorium.fit("continue-text", changes, run_dir=tmp_path / "run")
    before = load_file(folder / "model.safetensors")
    after = model.encoder("text").model.state_dict()
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[f"bert.{name}"])}
    assert "encoder.layer.0.attention.self.query.weight" in moved
    assert all(
        name.startswith("encoder.layer.")
        and name.endswith(("dense.weight", ".query.weight", ".key.weight", ".value.weight"))
        for name in moved
    ), moved


def test_the_tokenizer_of_another_model_is_refused(folder, texts, tmp_path):
    with pytest.raises(RecipeError, match=r"set the tokenizer|The tokenizer is not that of the model"):
        sensorium.fit(
            "continue-text",
            overrides(folder, texts, "modalities.text.modality.tokenizer=characters"),
            run_dir=tmp_path / "r",
        )
