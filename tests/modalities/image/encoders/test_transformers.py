"""Image models of transformers: as the library has them, as token encoders, and started from their folders."""

import json

import pytest
import torch

from sensorium import SensoriumError, TokenEncoder
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.transformers import (
    TransformersImage,
    TransformersVisionTransformer,
    read_normalization,
)
from sensorium.modalities.image.encoders.transformers_parts import library_pass, take_apart, without_masking
from sensorium.modalities.image.modality import ImageModality
from sensorium.models.layers import encode_with_layers
from sensorium.testing.emulation import table
from sensorium.testing.equality import close
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device
from tests.modalities import pretrained_case

transformers = pytest.importorskip("transformers")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 48}
TINY |= {"patch_size": 16}
SCALED = TINY | {"layerscale_value": 1.0}
RELATIVE = {"use_relative_position_bias": True}
FAMILIES = {
    "dinov2": ("Dinov2Config", SCALED),
    "dinov2 with registers": ("Dinov2WithRegistersConfig", SCALED),
    "dinov3": ("DINOv3ViTConfig", SCALED | {"num_register_tokens": 4}),
    "vit": ("ViTConfig", TINY),
    "deit": ("DeiTConfig", TINY),
    "mae": ("ViTMAEConfig", TINY),
    "i-jepa": ("IJepaConfig", TINY),
    "clip": ("CLIPVisionConfig", TINY),
    "siglip": ("SiglipVisionConfig", TINY),
    "siglip2": (
        "Siglip2VisionConfig",
        {name: TINY[name] for name in TINY if name != "image_size"} | {"num_patches": 9},
    ),
    "beit": ("BeitConfig", TINY | RELATIVE),
    "beit, shared bias": ("BeitConfig", TINY | {"use_shared_relative_position_bias": True, "use_mean_pooling": False}),
    "data2vec": ("Data2VecVisionConfig", TINY | RELATIVE),
    "msn": ("ViTMSNConfig", TINY),
}
STRANGERS = {
    "pixio": ("PixioConfig", TINY),
    "sapiens2": ("Sapiens2Config", SCALED),
    "tips": ("Tipsv2VisionConfig", TINY),
    "chinese clip": ("ChineseCLIPVisionConfig", TINY),
}
"""Families that the encoder names nowhere."""
POOLED_AS_THE_LIBRARY = (
    "dinov2",
    "dinov2 with registers",
    "dinov3",
    "clip",
    "siglip",
    "siglip2",
    "beit",
    "beit, shared bias",
    "chinese clip",
)
PIXELS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


def batch(size=(32, 48), rows=3):
    generator = torch.Generator().manual_seed(0)
    return ImageBatch(torch.randint(0, 256, (rows, 3, *size), dtype=torch.uint8, generator=generator))


def library(family):
    """Return a model of the library whose norms, biases and bias tables are not those of the start."""
    kind, options = (FAMILIES | STRANGERS)[family]
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(getattr(transformers, kind)(**options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def saved(model, folder):
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PIXELS))
    return str(folder)


def started(folder, size=(32, 48), **options):
    """Return the encoder of a folder, started from its weights."""
    options = {"model": str(folder), **options}
    torch.manual_seed(0)
    encoder = TransformersImage.variant(options)(ImageModality(size=list(size)), **options).eval()
    load_weights(encoder, encoder.own_weights)
    return encoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a function: the folder of a family's model, written once, and the model."""
    made = {}

    def folder_of(family):
        if family not in made:
            model = library(family)
            made[family] = saved(model, tmp_path_factory.mktemp("model")), model
        return made[family]

    return folder_of


@pytest.mark.parametrize("family", [*FAMILIES, *STRANGERS])
@torch.no_grad()
def test_features_and_tokens_are_those_of_the_library(folders, family):
    folder, model = folders(family)
    encoder = started(folder)
    assert isinstance(encoder, TransformersVisionTransformer)
    model.config = without_masking(model.config)
    if hasattr(model.config, "mask_ratio"):
        model.embeddings.config = model.config
    wanted = library_pass(model, encoder.normalize(batch()))
    features = encoder(batch())
    torch.testing.assert_close(features.tokens, wanted.last_hidden_state[:, encoder.parts.prefix :], atol=1e-5, rtol=0)
    if family in POOLED_AS_THE_LIBRARY:
        torch.testing.assert_close(features.pooled, wanted.pooler_output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", [*FAMILIES, "sapiens2"])
def test_it_is_a_token_encoder_as_any(folders, family):
    encoder = started(folders(family)[0])
    assert encoder.grid == (2, 3)
    assert encoder.target_dim == 3 * 16 * 16
    pretrained_case.check_family(encoder, batch())


@pytest.mark.parametrize("family", ["dinov3", "beit"])
def test_every_objective_takes_a_step(folders, family):
    assert "ibot" in pretrained_case.check_every_objective(started(folders(family)[0]), "image", batch())


@pytest.mark.parametrize(
    ("family", "pool"),
    [("vit", "pooler"), ("siglip", "mean"), ("clip", "token"), ("clip", "mean"), ("beit", "token"), ("deit", "mean")],
)
@torch.no_grad()
def test_pooling_is_as_asked_and_nothing_unused_is_trained(folders, family, pool):
    folder, model = folders(family)
    encoder = started(folder, pool=pool)
    wanted = library_pass(model, encoder.normalize(batch()))
    tokens, prefix = wanted.last_hidden_state, encoder.parts.prefix
    pooled = {"pooler": wanted.pooler_output, "mean": tokens[:, prefix:].mean(1), "token": tokens[:, 0]}[pool]
    torch.testing.assert_close(encoder(batch()).pooled, pooled, atol=1e-5, rtol=0)
    with torch.enable_grad():
        encoder.train()(batch()).pooled.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


@torch.no_grad()
def test_crops_have_a_grid_of_their_own(folders):
    folder, model = folders("dinov3")
    encoder = started(folder, (48, 48))
    pixels = encoder.normalize(batch((16, 32)))
    torch.testing.assert_close(encoder(batch((16, 32))).pooled, model(pixel_values=pixels).pooler_output)
    with pytest.raises(SensoriumError, match="do not tile images of 20x32"):
        encoder(batch((20, 32)))


def test_training_changes_no_positions_and_a_mask_token_is_no_parameter(folders):
    encoder = started(folders("dinov3")[0])
    tokens = encoder.tokenize(batch())
    with torch.no_grad():
        assert torch.equal(encoder.train()(batch()).pooled, encoder.eval()(batch()).pooled)
    assert not [name for name, _ in encoder.named_parameters() if "mask_token" in name]
    assert torch.equal(encoder.mask_embedding(), folders("dinov3")[1].embeddings.mask_token.flatten())
    assert tokens.positions.shape == (1, 6, 32)
    assert started(folders("vit")[0]).mask_embedding() is None


@pytest.mark.parametrize("family", ["dinov2 with registers", "clip", "beit"])
@torch.no_grad()
def test_layers_lead_to_its_tokens(folders, family):
    encoder = started(folders(family)[0])
    stack = encoder.layer_stack()
    features, layers = encode_with_layers(encoder, stack, batch())
    last = torch.cat([layers[-1].prefix, layers[-1].x], dim=1)
    last = last if stack.norm is None else stack.norm(last)
    assert len(layers) == 2
    assert close(last[:, stack.prefix :], features.tokens)
    assert len(list(stack.modules_behind()))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ViTForImageClassification", {"config": "ViTConfig", "num_labels": 7}),
        ("ViTMAEForPreTraining", {"config": "ViTMAEConfig", "decoder_hidden_size": 32, "decoder_num_hidden_layers": 1}),
        ("Dinov2ForImageClassification", {"config": "Dinov2Config", "num_labels": 3}),
        ("BeitForMaskedImageModeling", {"config": "BeitConfig", "vocab_size": 9, "use_mask_token": True, **RELATIVE}),
    ],
)
@torch.no_grad()
def test_files_of_models_with_heads_are_read(tmp_path, kind, options):
    options = dict(options)
    config = getattr(transformers, options.pop("config"))(**TINY, **options)
    if hasattr(config, "decoder_num_attention_heads"):
        config.decoder_num_attention_heads, config.decoder_intermediate_size = 2, 32
    torch.manual_seed(2)
    whole = getattr(transformers, kind)(config).eval()
    encoder = started(saved(whole, tmp_path), pool="token")
    base = without_masking(whole.config)
    inner = getattr(whole, whole.base_model_prefix)
    inner.config = base
    if hasattr(base, "mask_ratio"):
        inner.embeddings.config = base
    wanted = library_pass(inner, encoder.normalize(batch())).last_hidden_state
    torch.testing.assert_close(encoder(batch()).tokens, wanted[:, 1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
@torch.no_grad()
def test_of_a_model_of_images_and_texts_it_is_the_image_part(tmp_path, kind):
    text = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "max_position_embeddings": 8}
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=TINY)
    whole = getattr(transformers, f"{kind}Model")(config).eval()
    encoder = started(saved(whole, tmp_path), (48, 48))
    wanted = whole.vision_model(pixel_values=encoder.normalize(batch((48, 48))))
    torch.testing.assert_close(encoder(batch((48, 48))).pooled, wanted.pooler_output, atol=1e-5, rtol=0)


def test_preprocessing_is_that_of_the_folder(folders, tmp_path):
    folder, model = folders("vit")
    encoder = started(folder)
    assert torch.equal(encoder.normalize.mean.flatten(), torch.tensor(PIXELS["image_mean"]))
    with pytest.raises(SensoriumError, match=r"'mean' is \[0.1, 0.1, 0.1\].*trained with \[0.5, 0.4, 0.3\]: leave out"):
        started(folder, mean=[0.1, 0.1, 0.1])
    model.save_pretrained(tmp_path)
    with pytest.raises(SensoriumError, match=r"has no preprocessor_config.json.*set mean and std"):
        started(tmp_path)
    assert started(tmp_path, mean=[0.5] * 3, std=[0.5] * 3).own_weights is not None
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": PIXELS}))
    assert read_normalization(tmp_path)["mean"] == pytest.approx(PIXELS["image_mean"])
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PIXELS | {"rescale_factor": 1 / 127.5}))
    assert read_normalization(tmp_path)["std"] == pytest.approx([0.1, 0.15, 0.2])
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    assert read_normalization(tmp_path) == {"mean": [0.0] * 3, "std": [1.0] * 3}


def test_what_does_not_fit_is_refused(folders, tmp_path):
    folder, _ = folders("siglip")
    with pytest.raises(SensoriumError, match="do not tile images of 40x48"):
        started(folder, (40, 48))
    with pytest.raises(SensoriumError, match="has no class token: set pool to mean"):
        started(folder, pool="token")
    with pytest.raises(SensoriumError, match="has no pooler"):
        started(folders("mae")[0], pool="pooler")
    with pytest.raises(SensoriumError, match="set channels of the modality to 3"):
        TransformersImage.variant({"model": folder})(ImageModality(size=48, channels=1), folder)
    encoder = TransformersImage.variant({"model": folder})(ImageModality(size=48), folder)
    with pytest.raises(SensoriumError, match=r"missing \(model."):
        load_weights(encoder, folders("dinov3")[0])
    saved(transformers.BertModel(transformers.BertConfig(**TINY, vocab_size=9)), tmp_path)
    with pytest.raises(SensoriumError, match="'bert' takes no images"):
        started(tmp_path)


@torch.no_grad()
def test_other_models_have_features(tmp_path):
    torch.manual_seed(0)
    options = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = transformers.ResNetModel(transformers.ResNetConfig(**options)).eval()
    encoder = started(saved(model, tmp_path))
    assert not isinstance(encoder, TokenEncoder)
    wanted = model(pixel_values=encoder.normalize(batch())).pooler_output.flatten(1)
    assert torch.equal(encoder(batch()).pooled, wanted)
    assert encoder(batch(rows=1).select(torch.zeros(0, dtype=torch.int64))).pooled.shape == (0, 16)
    assert encoder.dim == 16


def test_a_transformer_in_windows_is_not_taken_for_one_of_free_tokens():
    options = {"embed_dim": 16, "depths": [1], "num_heads": [2], "window_size": 2, "image_size": 32, "patch_size": 4}
    assert take_apart(transformers.SwinConfig(**options)) is None


def test_first_weights_are_random_and_loading_draws_no_random_numbers(folders):
    folder, model = folders("dinov2")
    torch.manual_seed(5)
    encoder = TransformersImage.variant({"model": folder})(ImageModality(size=48), folder)
    drawn = torch.rand(1)
    loaded = encoder.state_dict()["model.encoder.layer.0.mlp.fc1.weight"]
    assert not torch.equal(loaded, model.encoder.layer[0].mlp.fc1.weight)
    torch.manual_seed(5)
    encoder = TransformersImage.variant({"model": folder})(ImageModality(size=48), folder)
    load_weights(encoder, folder)
    assert torch.equal(torch.rand(1), drawn)


@pytest.mark.parametrize("family", ["dinov3", "mae", "siglip2"])
def test_the_host_waits_for_nothing(folders, family):
    _, waits = encoded_on_device(started(folders(family)[0]).train(), batch())
    assert not waits, table(waits)


def test_the_mask_token_of_a_file_that_the_model_has_no_place_for_is_not_used(tmp_path):
    model = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**TINY))
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    encoder = TransformersVisionTransformer(ImageModality(size=48), str(tmp_path))
    report = load_weights(encoder, tmp_path)
    assert not report.missing
    assert any(name.endswith("mask_token") for name in report.unexpected)
