"""What is exported needs no folder that the run's recipe named."""

import shutil

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models as tokenizer_models, pre_tokenizers

import sensorium
from sensorium.exporters.encoders import EncoderFiles
from sensorium.exporters.model_folders import brought, placed
from tests.core.exporters import models

WORDS = ["[PAD]", "[UNK]", "[MASK]", "the", "cat", "sat"]


@pytest.fixture
def bert(tmp_path):
    """A folder of a tiny BERT and its tokenizer, as `save_pretrained` writes it."""
    folder = tmp_path / "bert"
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder)
    made = Tokenizer(tokenizer_models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **roles).save_pretrained(folder)
    return folder


def test_an_encoder_is_loaded_when_the_folder_that_it_was_built_of_is_gone(bert, tmp_path):
    encoder = {"name": "transformers", "model": str(bert)}
    model = models.model_of(
        "text", encoder, "masked-token", "random-token-mask", tokenizer=f"transformers:{bert}", length=16
    )
    wanted = model.embed(text=["the cat sat"], space="features")["text"]
    out = tmp_path / "out"
    out.mkdir()
    EncoderFiles().export(model, out)
    shutil.rmtree(bert)
    moved = out.rename(tmp_path / "moved")
    modality, loaded = sensorium.load_encoder(moved)
    with torch.no_grad():
        found = loaded(modality.collate([modality.decode("the cat sat")])).pooled
    torch.testing.assert_close(found, wanted)
    assert not list(moved.glob("*/**/*.safetensors"))  # weights are there once


def test_other_options_stay_as_they_are(tmp_path):
    (tmp_path / "mean").mkdir()
    options = {"pool": str(tmp_path / "mean"), "model": "resnet18", "sizes": [1, None], "arch": "open_clip:ViT-B-32"}
    assert brought(options, tmp_path, "files") == options
    assert placed({"a": ["transformers:{export}/files/0"]}, tmp_path) == {"a": [f"transformers:{tmp_path}/files/0"]}


def test_an_export_that_is_written_once_more_keeps_its_copies(bert, tmp_path):
    once = brought({"model": str(bert)}, tmp_path / "out", "files")
    assert once == {"model": "{export}/files/0"}
    again = brought(placed(once, tmp_path / "out"), tmp_path / "out", "files")
    assert again == once
    assert brought({"model": str(bert)}, tmp_path / "out", "files") == once
