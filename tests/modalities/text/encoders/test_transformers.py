import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.modality import TextModality
from sensorium.testing.emulation import table
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device

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
