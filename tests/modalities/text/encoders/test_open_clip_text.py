"""Text towers of open_clip: as the library has them, as token encoders, and started from its files."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from sensorium import Features, take_tokens
from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.open_clip_text import OpenClipText
from sensorium.modalities.text.modality import TextModality
from sensorium.models.layers import encode_with_layers
from sensorium.testing.emulation import table
from sensorium.testing.equality import close
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device
from tests.modalities import pretrained_case

VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
SMALL = {
    "embed_dim": 16,
    "vision_cfg": VISION,
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TINY = {"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2, "ls_init_value": 1.0}
SIGLIP = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "hf_tokenizer_name": "any"}
FAMILIES = {
    "clip": TINY,
    "siglip": TINY | SIGLIP,
    "mobile": TINY | {"no_causal_mask": True},
    "coca": TINY | {"embed_cls": True},
    "worldwide": TINY | {"pool_type": "eos", "eos_id": 63, "hf_tokenizer_name": "any"},
    "first": TINY | {"pool_type": "first", "no_causal_mask": True, "proj_type": "none"},
}
START, END = 62, 63


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small architectures, known to open_clip while a test runs."""
    import open_clip

    known = {f"tiny-{name}": {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": FAMILIES[name]} for name in FAMILIES}
    for name, config in (known | {"small-for-tests": SMALL}).items():
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    torch.manual_seed(0)


@pytest.fixture
def modality():
    return TextModality("open_clip:small-for-tests", length=20)


@pytest.fixture
def batch(modality):
    return modality.collate([modality.decode(t) for t in ("a photo of a cat", "two dogs")])


def tiny(name):
    """Return a tower of a family; the tokenizer of SigLIP pads with 1."""
    tokenizer = SimpleNamespace(size=64, padding=int(name == "siglip"))
    return OpenClipText(SimpleNamespace(tokenizer=tokenizer, length=12), f"tiny-{name}").eval()


def texts(*lengths):
    generator = torch.Generator().manual_seed(0)
    words = [torch.randint(2, 62, (length,), generator=generator) for length in lengths]
    return TextBatch.join([torch.tensor([START, *ids, END]) for ids in words])


def padded(encoder, texts):
    """Return the ids of texts as the library's tokenizer gives them."""
    room = encoder.tower.context_length - texts.ids.shape[1]
    ids = torch.where(texts.mask, texts.ids, encoder._padding)
    return torch.nn.functional.pad(ids, (0, room), value=encoder._padding)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("lengths", [(3, 6, 10), (2, 5)], ids=["full", "short"])
@torch.no_grad()
def test_features_and_tokens_are_those_of_open_clip(name, lengths):
    encoder, given = tiny(name), texts(*lengths)
    encoder.tower.output_tokens = True
    pooled, tokens = encoder.tower(padded(encoder, given))
    features = encoder(given)
    assert torch.equal(features.pooled, pooled)
    if name == "coca":  # whose tokens leave the library before the last norm
        tokens = encoder.tower.ln_final(tokens)
    assert torch.equal(features.tokens[given.mask], tokens[:, : given.ids.shape[1]][given.mask])
    assert encoder.is_causal == (name in ("clip", "coca", "worldwide"))


def masked_pass(encoder, given):
    """Return a pass of the library over whole texts in which no token attends to those that are not kept."""
    tower = encoder.tower

    def run(tokens, kept_BT):
        x_BLW, mask = tower._embeds(padded(encoder, given))
        b, length, _ = x_BLW.shape
        hidden_BT = tokens.valid() & ~kept_BT
        hidden_BL = torch.nn.functional.pad(hidden_BT, (0, length - hidden_BT.shape[1]))
        mask = torch.zeros(length, length) if mask is None else mask
        mask = mask if mask.ndim == 3 else mask.expand(b * 2, -1, -1)
        mask = mask.masked_fill(hidden_BL.repeat_interleave(2, 0)[:, None], -torch.inf)
        alone = mask.isneginf().all(2, keepdim=True)  # what no token attends to, is attended to by nobody
        x_BLW = tower.ln_final(tower.transformer(x_BLW, attn_mask=mask.masked_fill(alone, 0)))
        places = torch.arange(length).expand(b, -1)
        seen = ~hidden_BL if encoder._attends_to_padding else places < given.mask.sum(1, keepdim=True)
        if tower.cls_emb is not None:
            index = torch.full((b,), length - 1)
        elif tower.pool_type == "first":
            index = places.where(~hidden_BL, length).argmin(1)
        elif tower.pool_type == "last":
            index = places.where(seen, -1).argmax(1)
        else:  # the end of the text, or the last token that is kept
            index = places.where(places < given.mask.sum(1, keepdim=True), -1).where(~hidden_BL, -1).argmax(1)
        pooled = encoder._project(x_BLW[torch.arange(b), index])
        return Features(pooled, x_BLW[:, : hidden_BT.shape[1]])

    return run


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_a_token_encoder_as_any(name):
    encoder, given = tiny(name), texts(4, 7, 10)
    pretrained_case.check_shapes(encoder, given)
    pretrained_case.check_kept_tokens(encoder, given, masked_pass=masked_pass(encoder, given))
    pretrained_case.check_noise_in_dropped_tokens(encoder, given)
    pretrained_case.check_hidden_places(encoder, given)
    pretrained_case.check_two_passes_equal(encoder, given)
    pretrained_case.check_padding(encoder, given)
    pretrained_case.check_no_rows(encoder, given)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_kept_tokens_do_not_depend_on_the_length_of_the_batch(name):
    encoder, short, long = tiny(name), texts(4, 5), texts(4, 5, 10)
    keep = torch.tensor([[3, 1], [6, 2]])
    alone = encoder.encode_tokens(encoder.tokenize(short), keep)
    beside = encoder.encode_tokens(encoder.tokenize(long), torch.cat([keep, torch.tensor([[0, 1]])]))
    assert close(alone.tokens, beside.tokens[:2])
    assert close(alone.pooled, beside.pooled[:2])


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_every_objective_takes_a_step(name):
    taken = pretrained_case.check_every_objective(tiny(name), "text", texts(4, 7, 10))
    assert ("next-token" in taken) == (name == "clip")


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_layers_lead_to_its_tokens(name):
    encoder, given = tiny(name), texts(4, 7)
    stack = encoder.layer_stack()
    features, layers = encode_with_layers(encoder, stack, given)
    assert len(layers) == 2
    assert close(stack.norm(layers[-1].x)[given.mask], features.tokens[given.mask])
    projection = encoder.tower.text_projection
    behind = set(map(id, stack.parameters_behind()))
    assert projection is None or {id(p) for p in (*encoder.parameters(),)} & behind
    if isinstance(projection, torch.nn.Parameter):
        assert id(projection) in behind


@torch.no_grad()
def test_encodes_as_open_clip_does(modality, batch):
    import open_clip

    whole = open_clip.create_model("small-for-tests").eval()
    encoder = OpenClipText(modality, "small-for-tests").eval()
    own = {n: w for n, w in whole.state_dict().items() if n in encoder.tower.state_dict()}
    encoder.tower.load_state_dict(own)
    ids = open_clip.get_tokenizer("small-for-tests")(["a photo of a cat", "two dogs"])
    assert torch.equal(encoder(batch).pooled, whole.encode_text(ids))
    wide = torch.nn.functional.pad(batch.ids, (0, 9)), torch.nn.functional.pad(batch.mask, (0, 9))
    assert torch.equal(encoder(TextBatch(*wide)).pooled, encoder(batch).pooled)
    assert (encoder.dim, encoder.token_dim, encoder.target_dim) == (16, 32, 49408)


@torch.no_grad()
def test_padding_of_a_causal_tower_reaches_nothing(modality, batch):
    encoder = OpenClipText(modality, "small-for-tests").eval()
    tokens = encoder.tokenize(batch)
    garbage = replace(tokens, x=tokens.x.masked_fill(~batch.mask[..., None], 9.0))
    assert torch.equal(encoder.encode_tokens(garbage).pooled, encoder.encode_tokens(tokens).pooled)
    keep = torch.tensor([[6, 2], [3, 1]])
    kept = encoder.encode_tokens(tokens, keep)
    assert kept.mask.all()
    assert not torch.allclose(kept.tokens, take_tokens(encoder(batch).tokens, keep), atol=1e-3)


@pytest.mark.parametrize("custom_text", [False, True])
@torch.no_grad()
def test_loads_the_file_of_a_whole_model(modality, batch, tmp_path, custom_text):
    import open_clip

    whole = open_clip.create_model("small-for-tests", force_custom_text=custom_text)
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "whole.pt")
    encoder = OpenClipText(modality, "small-for-tests").eval()
    report = load_weights(encoder, tmp_path / "whole.pt")
    assert not report.missing
    assert set(report.unexpected) > {"logit_scale", "visual.conv1.weight"}
    ids = torch.nn.functional.pad(batch.ids, (0, 77 - batch.ids.shape[1]))
    assert torch.equal(encoder(batch).pooled, whole.eval().encode_text(ids))


@torch.no_grad()
def test_a_folder_brings_its_own_weights(modality, batch, tmp_path):
    import open_clip

    whole = open_clip.create_model("small-for-tests").eval()
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, tmp_path / "model.safetensors")
    encoder = OpenClipText(modality, f"local-dir:{tmp_path}").eval()
    load_weights(encoder, encoder.own_weights)
    ids = torch.nn.functional.pad(batch.ids, (0, 77 - batch.ids.shape[1]))
    assert torch.equal(encoder(batch).pooled, whole.encode_text(ids))


def test_weights_of_another_architecture_are_refused(modality, tmp_path):
    torch.save({"token_embedding.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(RecipeError, match=r"missing.*1 of another shape"):
        load_weights(OpenClipText(modality, "small-for-tests"), tmp_path / "other.pt")
    torch.save({"text_model.embeddings.token_embedding.weight": torch.zeros(3, 3)}, tmp_path / "hf.pt")
    with pytest.raises(RecipeError, match="weights of transformers"):
        load_weights(OpenClipText(modality, "small-for-tests"), tmp_path / "hf.pt")


def test_what_does_not_fit_is_refused(modality):
    with pytest.raises(RecipeError, match="did you mean 'ViT-B"):
        OpenClipText(modality, "ViT-B-33")
    with pytest.raises(RecipeError, match="encoder 'transformers', with model: PATH or hub:roberta-base"):
        OpenClipText(modality, "roberta-ViT-B-32")
    with pytest.raises(RecipeError, match="length to at most 77"):
        OpenClipText(TextModality("open_clip", length=100), "small-for-tests")
    other = TextModality(vocab=300)
    other.fit(["some text"])
    with pytest.raises(RecipeError, match="tokenizer to 'open_clip:small-for-tests'"):
        OpenClipText(other, "small-for-tests")


def test_no_image_tower_is_built(modality):
    assert not [name for name, _ in OpenClipText(modality, "small-for-tests").named_parameters() if "visual" in name]


def test_the_host_waits_for_nothing(modality, batch):
    _, waits = encoded_on_device(OpenClipText(modality, "small-for-tests").train(), batch)
    assert not waits, table(waits)
