"""Folders that transformers opens: models of its own where it has them, else one that an import registers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from sensorium.errors import SensoriumError
from sensorium.exporters.huggingface import HuggingFace
from tests.core.exporters import models

TEXTS = ["the cat ate the ball", "</s> is written here, as is <pad>", "ÄÖ 🙂", "a " * 50]


def opened(lines, **names):
    names = {"transformers": transformers, **names}
    exec(lines, names)
    return names


@pytest.mark.parametrize(
    "options",
    [{}, {"views": "plain", "objective": "next-token", "causal": True, "pool": "end"}, {"tokenizer": "characters"}],
    ids=["bidirectional", "causal", "characters"],
)
def test_a_text_encoder_is_a_model_of_transformers_with_its_tokenizer(options, tmp_path):
    model = models.texts(**options)
    lines = HuggingFace().export(model, tmp_path)
    assert HuggingFace().verify(model, tmp_path).largest < 1e-5
    with torch.no_grad():
        names = opened(lines, texts=TEXTS)
    assert type(names["model"]).__name__ == "XLMRobertaXLModel"
    wanted = model.embed(text=TEXTS, space="tokens")["text"]
    valid = ~wanted[..., 0].isnan()
    assert torch.equal(
        valid, names["tokenizer"](TEXTS, padding=True, truncation=True, return_tensors="pt")["attention_mask"].bool()
    )
    torch.testing.assert_close(names["tokens"][valid], wanted[valid], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [models.vit, models.molecules])
def test_an_encoder_that_transformers_does_not_have_is_one_that_an_import_registers(make, tmp_path):
    model = make()
    HuggingFace().export(model, tmp_path)
    verified = HuggingFace().verify(model, tmp_path)
    assert verified.differences == {"weights": 0.0, "features": pytest.approx(0.0, abs=1e-6)}


@pytest.mark.parametrize("again", [True, False], ids=["same-folder", "another"])
def test_a_model_that_was_trained_further_is_saved_by_transformers(again, tmp_path):
    HuggingFace().export(models.molecules(), tmp_path / "first")
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "first")
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.mul_(1.5)
    folder = tmp_path / ("first" if again else "second")
    theirs.save_pretrained(folder)
    reopened = transformers.AutoModel.from_pretrained(folder)
    assert type(reopened) is type(theirs)
    values = ["CCO", "c1ccccc1"]
    wanted = theirs.eval()(theirs.batch(values)).pooler_output
    assert torch.equal(reopened.eval()(reopened.batch(values)).pooler_output, wanted)


@pytest.mark.slow
def test_another_process_embeds_raw_values_from_the_folder_alone(tmp_path):
    model = models.molecules()
    lines = HuggingFace().export(model, tmp_path)
    code = f"values = ['CCO', 'c1ccccc1']\n{lines}\nimport torch\ntorch.save(features, {str(tmp_path / 'f')!r})"
    root, environment = Path(__file__).parents[3], {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment)
    wanted = model.embed(molecule=["CCO", "c1ccccc1"], space="features")["molecule"]
    torch.testing.assert_close(torch.load(tmp_path / "f"), wanted)


def test_a_tokenizer_with_other_ids_is_an_error(tmp_path):
    model = models.texts()
    HuggingFace().export(model, tmp_path)
    model.plan.modalities["text"].lower = True
    with pytest.raises(SensoriumError, match=r"gives the text 'A man is playing a guitar.' the ids"):
        HuggingFace().verify(model, tmp_path)
