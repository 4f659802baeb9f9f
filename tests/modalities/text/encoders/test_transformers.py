import json
import shutil

import pytest
import torch

from sensorium import build
from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.modality import TextModality
from sensorium.models.learner import Learner
from sensorium.testing.emulation import table
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device
from tests.modalities.pretrained_case import step_learner

transformers = pytest.importorskip("transformers")
from sensorium.modalities.text.encoders.transformers import TransformersModel  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sleep", "##s", "dog", "on", "stone"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BERT with random weights and its tokenizer, as `save_pretrained` writes them."""
    path = tmp_path_factory.mktemp("tiny-bert")
    (path / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    transformers.BertModel(config).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def modality(folder):
    return TextModality(f"transformers:{folder}", length=16)


@pytest.fixture(scope="module")
def batch(modality):
    return modality.collate([modality.decode(t) for t in ("The cat sleeps on the stone", "dog sleeps")])


@pytest.mark.parametrize("pool", ["mean", "first", "end"])
def test_encodes_as_transformers_does_and_padding_changes_nothing(folder, modality, batch, pool):
    encoder = TransformersModel(modality, folder, pool=pool).eval()
    load_weights(encoder, encoder.own_weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("dog sleeps", return_tensors="pt")
    with torch.no_grad():
        hidden = transformers.AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0]
        expected = {"mean": hidden.mean(0), "first": hidden[0], "end": hidden[-1]}[pool]
        assert torch.allclose(encoder(batch).pooled[1], expected, atol=1e-5)
        wide = torch.nn.functional.pad(batch.ids, (0, 5), value=9), torch.nn.functional.pad(batch.mask, (0, 5))
        assert torch.allclose(encoder(TextBatch(*wide)).pooled, encoder(batch).pooled, atol=1e-5)
    assert encoder.dim == 16


def test_a_frozen_model_keeps_its_dropout_off(folder, modality, batch):
    encoder = TransformersModel(modality, folder)
    assert not torch.equal(encoder.train()(batch).pooled, encoder(batch).pooled)
    encoder.requires_grad_(False).train()
    assert torch.equal(encoder(batch).pooled, encoder(batch).pooled)
    assert not encoder(batch).pooled.requires_grad


def test_every_weight_receives_a_gradient(folder, modality, batch):
    encoder = TransformersModel(modality, folder).train()
    encoder(batch).tokens.pow(2).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_what_does_not_fit_is_refused(folder, modality):
    with pytest.raises(RecipeError, match="nothing is downloaded"):
        TransformersModel(modality, "/no/such/folder")
    with pytest.raises(RecipeError, match="length to at most 24"):
        TransformersModel(TextModality(f"transformers:{folder}", length=30), folder)
    other = TextModality(vocab=300)
    other.fit(["some text"])
    with pytest.raises(RecipeError, match="set the tokenizer"):
        TransformersModel(other, folder)


def test_the_host_does_not_wait_for_the_padding_mask(folder, modality, batch):
    features, waits = encoded_on_device(TransformersModel(modality, folder).train(), batch)
    assert features.pooled.dtype == torch.float32
    assert not waits, table(waits)


@pytest.fixture
def encoder(folder, modality):
    made = TransformersModel(modality, folder, pool="mean")
    load_weights(made, made.own_weights)
    return made.eval()


def masked_lm(folder):
    """A file of BERT with its heads, as `BertForPreTraining` writes it."""
    torch.manual_seed(1)
    return transformers.BertForPreTraining(transformers.AutoConfig.from_pretrained(folder)).state_dict()


def test_weights_of_older_files_with_heads_are_loaded(folder, modality, tmp_path):
    stored = masked_lm(folder)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
        for name, weight in stored.items()
    } | {"bert.embeddings.position_ids": torch.arange(24)[None]}
    torch.save(old, tmp_path / "pytorch_model.bin")
    encoder = TransformersModel(modality, folder)
    report = load_weights(encoder, tmp_path)
    assert report.missing == ()
    assert "cls.predictions.transform.dense.weight" in report.unexpected
    assert torch.equal(
        encoder.model.encoder.layer[1].output.LayerNorm.weight, stored["bert.encoder.layer.1.output.LayerNorm.weight"]
    )
    logits = encoder.token_classifier()(torch.ones(1, 2, 16))
    dense, norm = (stored[f"cls.predictions.transform.{name}.weight"] for name in ("dense", "LayerNorm"))
    biases = [
        stored[f"cls.predictions.{name}"] for name in ("transform.dense.bias", "transform.LayerNorm.bias", "bias")
    ]
    hidden = torch.nn.functional.gelu(torch.ones(1, 2, 16) @ dense.T + biases[0])
    hidden = torch.nn.functional.layer_norm(hidden, (16,), norm, biases[1], 1e-12)
    expected = hidden @ stored["bert.embeddings.word_embeddings.weight"].T + biases[2]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("bert.encoder.layer.1.output.dense.weight"),
            "1 missing .model.encoder.layer.1.output.dense.weight",
        ),
        (lambda w: w.update({"bert.encoder.layer.0.extra": torch.ones(2)}), "1 unexpected .bert.encoder.layer.0.extra"),
        (lambda w: w.update({"bert.embeddings.word_embeddings.weight": torch.ones(30, 16)}), "30x16 instead of 12x16"),
        (lambda w: [w.pop(name) for name in list(w) if name.startswith("bert.")], "missing"),
    ],
    ids=["missing", "unexpected", "shape", "heads alone"],
)
def test_weights_that_do_not_fit_are_listed(folder, modality, tmp_path, change, message):
    stored = masked_lm(folder)
    change(stored)
    torch.save(stored, tmp_path / "model.pt")
    with pytest.raises(RecipeError, match=message):
        load_weights(TransformersModel(modality, folder), tmp_path / "model.pt")


def test_its_own_weights_come_back_and_no_generator_is_moved(folder, modality, encoder, tmp_path):
    torch.save(encoder.state_dict(), tmp_path / "own.pt")
    before = torch.get_rng_state()
    again = TransformersModel(modality, folder)
    load_weights(again, tmp_path / "own.pt")
    for name, weight in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    torch.set_rng_state(before)
    first, other = (transformers.AutoModel.from_config(again._config), TransformersModel(modality, folder))
    torch.set_rng_state(before)
    assert not torch.equal(first.encoder.layer[0].output.dense.weight, other.model.encoder.layer[0].output.dense.weight)
    same = TransformersModel(modality, folder)
    assert torch.equal(first.encoder.layer[0].output.dense.weight, same.model.encoder.layer[0].output.dense.weight)


def test_a_head_classifies_the_masked_tokens_and_a_mask_token_is_the_models_own(folder, modality, encoder, batch):
    assert torch.equal(encoder.mask_embedding(), encoder.model.embeddings.word_embeddings.weight[4])
    torch.manual_seed(0)
    for name in ("simmim", "data2vec", "ibot", "dinov2", "wav2vec2", "graphmae"):
        learner = step_learner(encoder, "text", name)
        assert torch.equal(learner.objective.mask_token, encoder.mask_embedding()), name
    head = Learner({"text": encoder}, build("objective", "masked-token")).objective.head
    assert head(encoder(batch).tokens).shape == (2, 9, 12)
    assert head.model.cls.predictions.decoder.weight is not encoder.model.embeddings.word_embeddings.weight
    assert torch.equal(head.model.cls.predictions.decoder.weight, encoder.model.embeddings.word_embeddings.weight)


def test_dropout_is_overridden_and_layers_are_never_left_out(folder, modality, batch, tmp_path):
    still = TransformersModel(modality, folder, dropout=0.0).train()
    assert torch.equal(still(batch).pooled, still(batch).pooled)
    config = transformers.BartConfig(
        vocab_size=12, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=24,
        encoder_layerdrop=0.9, pad_token_id=0,
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    bart = TransformersModel(modality, str(tmp_path), dropout=0.0).train()
    assert torch.equal(bart(batch).pooled, bart(batch).pooled)
    assert bart.own_weights is None


def test_the_tokenizer_must_be_that_of_the_model(folder, modality, tmp_path):
    words = [*WORDS[:5], *reversed(WORDS[5:])]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r"6 of its 12 ids differ.*to 'transformers:"):
        TransformersModel(TextModality(f"transformers:{tmp_path}", length=16), folder)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt"), mask_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="its mask is 4, that of the modality's 1"):
        TransformersModel(TextModality(f"transformers:{tmp_path}", length=16), folder)


def sentence_folder(folder, path, pooling=None, more=()):
    """A copy of a model's folder as sentence-transformers writes it."""
    shutil.copytree(folder, path)
    kinds = ["Transformer", "Pooling", *more]
    modules = [
        {"path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_cls_token": True}))
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    return str(path)


def test_a_sentence_encoder_says_how_its_vectors_are_made(folder, batch, tmp_path):
    made = sentence_folder(folder, tmp_path / "s", more=["Normalize"])
    modality = TextModality(f"transformers:{made}", length=16)
    encoder = TransformersModel(modality, made).eval()
    features = encoder(batch)
    torch.testing.assert_close(features.pooled, torch.nn.functional.normalize(features.tokens[:, 0], dim=1))
    asked = TransformersModel(modality, made, pool="end").eval()(batch).pooled
    assert (asked.norm(dim=1) > 1.5).all()
    with pytest.raises(RecipeError, match="length to at most 16"):
        TransformersModel(TextModality(f"transformers:{made}", length=20), made)
    newer = sentence_folder(folder, tmp_path / "n", {"pooling_mode": "mean"})
    assert TransformersModel(modality, newer).pool == "mean"


@pytest.mark.parametrize(
    ("pooling", "more", "message"),
    [
        (None, ["Dense"], "it has Dense behind its pooling"),
        ({"pooling_mode_max_tokens": True}, [], "its pooling is max_tokens"),
    ],
    ids=["dense", "max"],
)
def test_vectors_that_cannot_be_made_are_refused(folder, tmp_path, pooling, more, message):
    made = sentence_folder(folder, tmp_path / "s", pooling, more)
    modality = TextModality(f"transformers:{made}", length=16)
    with pytest.raises(RecipeError, match=message):
        TransformersModel(modality, made)
    assert TransformersModel(modality, made, pool="mean").pool == "mean"


def test_architectures_whose_features_depend_on_padding_are_refused(folder, modality, tmp_path):
    config = transformers.FNetConfig(vocab_size=12, hidden_size=16, num_hidden_layers=2, intermediate_size=16)
    config.save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r"FNetModel.*change with the padding of its batch"):
        TransformersModel(modality, str(tmp_path))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for other in (transformers.CanineConfig(**small), transformers.ViTConfig(**small)):
        other.save_pretrained(tmp_path)
        with pytest.raises(RecipeError, match="no one embedding of ids"):
            TransformersModel(modality, str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nothing-of-the-kind"}')
    with pytest.raises(RecipeError, match="no configuration that transformers can read"):
        TransformersModel(modality, str(tmp_path))


def test_positions_that_start_late_leave_room_for_fewer_tokens(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "r")
    config = transformers.RobertaConfig(
        vocab_size=12, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=24, pad_token_id=1,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "r")
    with pytest.raises(RecipeError, match="length to at most 22"):
        TransformersModel(TextModality(f"transformers:{folder}", length=23), str(tmp_path / "r"))


def test_a_subset_of_no_valid_token_is_finite(encoder, batch):
    kept = encoder.encode_tokens(encoder.tokenize(batch), torch.tensor([[7, 8], [7, 8]]))
    assert kept.tokens.isfinite().all()


@torch.no_grad()
def test_a_folder_of_an_encoder_alone_is_that_encoder(folder, modality, batch, tmp_path):
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    alone = transformers.T5EncoderModel(transformers.T5Config(vocab_size=modality.tokenizer.size, **sizes)).eval()
    alone.save_pretrained(tmp_path)
    modality.tokenizer._model.save_pretrained(tmp_path)
    encoder = TransformersModel(modality, str(tmp_path)).eval()
    load_weights(encoder, tmp_path)
    expected_BTD = alone(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
    torch.testing.assert_close(encoder(batch).tokens[batch.mask], expected_BTD[batch.mask], atol=1e-5, rtol=1e-5)
