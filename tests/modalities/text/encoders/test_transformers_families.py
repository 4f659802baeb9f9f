"""Every architecture of transformers as a token encoder: equal to its library, exact on subsets, trained one step."""

import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.text.modality import TextModality
from sensorium.weights import load_weights
from tests.modalities import pretrained_case as case

transformers = pytest.importorskip("transformers")
from sensorium.modalities.text.encoders.transformers import TransformersModel  # noqa: E402
from tests.modalities.text.encoders import families  # noqa: E402

SUBSETS = {
    "Bert": "alone",
    "Roberta": "alone",
    "DistilBert": "alone",
    "Electra": "alone",
    "Albert": "alone",
    "ModernBert": "alone",
    "MPNet": "masked",
    "DebertaV2": "masked",
    "T5": "masked",
    "Bart": "masked",
    "GPT2": "alone",
    "Mistral": "alone",
    "Gemma3Text": "alone",
}
"""How each encodes a subset of tokens."""
CAUSAL = ("GPT2", "Mistral", "Gemma3Text", "Bloom")


@pytest.fixture(scope="module", params=[*SUBSETS, "Bloom"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return families.save(family, tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def modality(folder):
    return TextModality(f"transformers:{folder}", length=16)


@pytest.fixture(scope="module")
def batch(modality):
    return modality.collate([modality.decode(text) for text in families.TEXTS])


@pytest.fixture(scope="module")
def encoder(folder, modality):
    made = TransformersModel(modality, folder, pool="mean")
    load_weights(made, made.own_weights)
    return made


@pytest.fixture(autouse=True)
def _evaluating(encoder):
    encoder.eval()


def test_features_are_those_of_the_library(family, folder, modality, encoder, batch):
    library = transformers.AutoModel.from_pretrained(folder).eval()
    reader = library.get_encoder() if library.config.is_encoder_decoder else library
    for row, text in enumerate(families.TEXTS):
        ids = torch.tensor([modality.tokenizer._model(text)["input_ids"]])
        with torch.no_grad():
            expected = reader(input_ids=ids).last_hidden_state[0]
            found = encoder(batch).tokens[row, : ids.shape[1]]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert encoder.is_causal == (family in CAUSAL)


def test_it_is_a_token_encoder_as_every_other(family, encoder, batch):
    if family in SUBSETS:
        assert encoder.behavior.subset == SUBSETS[family]
        case.check_family(encoder, batch)
    else:  # positions are counted over what is attended to
        case.check_shapes(encoder, batch)
        case.check_padding(encoder, batch)
        case.check_two_passes_equal(encoder, batch)
        with pytest.raises(RecipeError, match="a subset would lose its places"):
            encoder.encode_tokens(encoder.tokenize(batch), torch.tensor([[0]] * len(batch)))


def test_blocks_are_found_in_order(family, encoder):
    stack = encoder.layer_stack()
    if family == "Albert":  # its layers share their weights
        assert stack is None
        return
    assert len(stack.blocks) == (4 if family == "ModernBert" else 2)
    has_norm = family in ("T5", "ModernBert", *CAUSAL)
    assert (stack.norm is not None) == has_norm
    assert list(stack.behind) == ([stack.norm] if has_norm else [])


@pytest.mark.parametrize("pool", ["first", "end"])
def test_first_and_last_tokens_are_found_by_their_places(encoder, batch, pool):
    if encoder.behavior.subset == "never" or (encoder.is_causal and pool == "first"):
        pytest.skip("it has no such")
    tokens = encoder.tokenize(batch)
    keep = torch.tensor([[3, 0, 1]] * len(batch))
    old, encoder.pool = encoder.pool, pool
    kept = encoder.encode_tokens(tokens, keep)
    encoder.pool = old
    torch.testing.assert_close(kept.pooled, kept.tokens[:, 1 if pool == "first" else 0])


def test_a_left_padded_text_has_the_features_of_the_text(encoder, batch):
    width = batch.ids.shape[1]
    left = type(batch)(batch.ids.clone(), batch.mask.clone())
    for row, length in enumerate(batch.mask.sum(1).tolist()):
        left.ids[row] = batch.ids[row].roll(width - length)
        left.mask[row] = batch.mask[row].roll(width - length)
    with torch.no_grad():
        if encoder.behavior.offset is None and encoder.behavior.subset != "never":
            pytest.skip("its positions are those of its input, and batches are padded on the right")
        torch.testing.assert_close(encoder(left).pooled, encoder(batch).pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["Bert", "ModernBert", "MPNet", "GPT2"], indirect=True, scope="module")
def test_every_objective_that_needs_tokens_trains_one_step(encoder, batch):
    assert "simmim" in case.check_every_objective(encoder, "text", batch)
