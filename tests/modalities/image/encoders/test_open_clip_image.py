"""Image towers of open_clip: as the library has them, as token encoders, and started from its files."""

import json

import pytest
import torch
from safetensors.torch import save_file

from sensorium import SensoriumError, TokenEncoder
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.open_clip_image import OpenClipImage, OpenClipVisionTransformer
from sensorium.modalities.image.modality import ImageModality
from sensorium.models.layers import encode_with_layers
from sensorium.testing.emulation import table
from sensorium.testing.equality import close
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device
from tests.modalities import pretrained_case

VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
TRANSFORMERS = {
    "vit": VIT,
    "mean": {**VIT, "pool_type": "avg"},
    "clipa": {**VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
    "coca": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 5},
    "scaled": {**VIT, "ls_init_value": 1.0, "qk_norm": True, "patch_dropout": 0.5},
}
CONVOLUTIONS = {
    "resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16},
    "convnext": {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
}
TRUNKS = {
    "siglip": {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 64},
    "token": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None, "image_size": 64},
    "gap": {"timm_model_name": "test_vit2", "timm_pool": "", "timm_proj": "linear", "image_size": 64},
    "pe": {"timm_model_name": "vit_pe_core_tiny_patch16_384", "timm_pool": "map", "timm_proj": None, "image_size": 64},
}
"""Vision transformers of timm, PE with rotary positions."""
WIDE = [32, 24]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small architectures, known to open_clip while a test runs."""
    import open_clip

    for name, vision in (TRANSFORMERS | CONVOLUTIONS | TRUNKS).items():
        config = {"embed_dim": 96 if name == "siglip" else 24, "vision_cfg": vision, "text_cfg": TEXT}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"small-{name}", config)
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"small-{name}-quickgelu", config | {"quick_gelu": True})
    torch.manual_seed(0)


def tower(name, size=32, **options):
    options = {"model": f"small-{name}", **options}
    return OpenClipImage.variant(options)(ImageModality(size=size), **options).eval()


def library(name, size=32):
    """Return a whole model of the library, with other weights than any encoder here."""
    import open_clip

    torch.manual_seed(99)
    return open_clip.create_model(f"small-{name}", load_weights=False, force_image_size=size).eval()


def batch(size=(32, 24), rows=3):
    generator = torch.Generator().manual_seed(0)
    return ImageBatch(torch.randint(0, 256, (rows, 3, *size), dtype=torch.uint8, generator=generator))


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_features_and_tokens_are_those_of_open_clip(name, tmp_path):
    whole = library(name, tuple(WIDE))
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    encoder = tower(name, WIDE)
    report = load_weights(encoder, tmp_path / "whole.pt")
    assert not report.missing
    whole.visual.output_tokens = True
    pooled, tokens = whole.visual(encoder.normalize(batch()))
    features = encoder(batch())
    assert torch.equal(features.pooled, pooled)
    assert features.tokens.shape == (3, 12, 32)
    if name != "coca":  # whose tokens are queries there
        assert torch.equal(features.tokens, tokens)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_it_is_a_token_encoder_as_any(name):
    encoder = tower(name, WIDE)
    assert (encoder.dim, encoder.token_dim, encoder.grid, encoder.target_dim) == (24, 32, (4, 3), 192)
    pretrained_case.check_family(encoder, batch())


def test_every_objective_takes_a_step():
    pretrained_case.check_every_objective(tower("vit", WIDE), "image", batch())


@torch.no_grad()
def test_crops_have_positions_of_their_own_grid():
    encoder = tower("vit")
    crop = encoder.tokenize(batch((16, 16))).positions
    whole = encoder.tokenize(batch((32, 32))).positions
    assert crop.shape == (1, 4, 32)
    bicubic = torch.nn.functional.interpolate(
        whole.unflatten(1, (4, 4)).permute(0, 3, 1, 2), size=(2, 2), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(crop, bicubic.flatten(2).transpose(1, 2))
    assert encoder(batch((16, 16))).tokens.shape == (3, 4, 32)


@pytest.mark.parametrize("name", ["vit", "coca", "clipa"])
@torch.no_grad()
def test_layers_lead_to_its_tokens(name):
    encoder = tower(name, WIDE)
    stack = encoder.layer_stack()
    features, layers = encode_with_layers(encoder, stack, batch())
    last = torch.cat([layers[-1].prefix, layers[-1].x], dim=1)
    assert len(layers) == 2
    assert close((last if name == "clipa" else stack.norm(last))[:, 1:], features.tokens)
    assert any(p is encoder.visual.proj for p in stack.parameters_behind())


@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_convolutional_towers_have_no_tokens(name, tmp_path):
    whole, encoder = library(name), tower(name)
    assert not isinstance(encoder, TokenEncoder)
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    load_weights(encoder, tmp_path / "whole.pt")
    pixels = encoder.normalize(batch((32, 32)))
    assert torch.equal(encoder(batch((32, 32))).pooled, whole.encode_image(pixels))


@pytest.mark.parametrize("name", TRUNKS)
def test_a_transformer_of_timm_is_a_tower_with_tokens(name, tmp_path):
    whole, encoder = library(name, (64, 48)), tower(name, [64, 48])
    with torch.no_grad():
        for parameter in whole.visual.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # a norm or a layer scale that is forgotten shows
        torch.save(whole.state_dict(), tmp_path / "whole.pt")
        assert not load_weights(encoder, tmp_path / "whole.pt").missing
        pixels = encoder.normalize(batch((64, 48)))
        features, tokens = encoder(batch((64, 48))), whole.visual.trunk.forward_features(pixels)
        torch.testing.assert_close(features.pooled, whole.encode_image(pixels), atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(features.tokens, tokens[:, encoder.prefix :], atol=1e-5, rtol=1e-5)
        encode_with_layers(encoder, encoder.layer_stack(), batch((64, 48)))
    pretrained_case.check_family(encoder, batch((64, 48)), atol=1e-4)


@torch.no_grad()
def test_positions_of_a_trunk_become_those_of_the_size(tmp_path):
    torch.save(library("siglip", 64).state_dict(), tmp_path / "whole.pt")
    encoder = tower("siglip", [96, 64])
    load_weights(encoder, tmp_path / "whole.pt")
    assert encoder(batch((96, 64))).tokens.shape[1] == 24


@pytest.mark.parametrize("layout", ["whole", "custom text", "tower", "tower with prefix"])
@torch.no_grad()
def test_files_of_a_model_and_of_a_tower_are_read(layout, tmp_path):
    import open_clip

    whole = library("vit")
    weights = {
        "whole": whole.state_dict(),
        "custom text": open_clip.model.convert_to_custom_text_state_dict(whole.state_dict()),
        "tower": whole.visual.state_dict(),
        "tower with prefix": {f"visual.{name}": tensor for name, tensor in whole.visual.state_dict().items()},
    }[layout]
    save_file({name: tensor.clone() for name, tensor in weights.items()}, tmp_path / "weights.safetensors")
    encoder = tower("vit")
    report = load_weights(encoder, tmp_path / "weights.safetensors")
    assert not report.missing
    assert torch.equal(encoder(batch((32, 32))).pooled, whole.encode_image(encoder.normalize(batch((32, 32)))))


@torch.no_grad()
def test_positions_of_weights_become_those_of_the_size_as_in_open_clip(tmp_path):
    import open_clip

    torch.save(library("vit").state_dict(), tmp_path / "whole.pt")
    encoder, wide = tower("vit", [48, 32]), library("vit", (48, 32))
    open_clip.factory.load_checkpoint(wide, str(tmp_path / "whole.pt"))
    load_weights(encoder, tmp_path / "whole.pt")
    torch.testing.assert_close(encoder.visual.positional_embedding, wide.visual.positional_embedding)
    resnet = tower("resnet", 64)
    torch.save(library("resnet").state_dict(), tmp_path / "resnet.pt")
    load_weights(resnet, tmp_path / "resnet.pt")
    assert resnet(batch((64, 64))).pooled.isfinite().all()


@torch.no_grad()
def test_openais_files_need_quick_gelu(tmp_path):
    whole = library("vit-quickgelu")
    stored = {name: tensor.half() for name, tensor in whole.state_dict().items()}
    stored |= {name: torch.tensor(8) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save(stored, tmp_path / "openai.pt")
    with pytest.raises(SensoriumError, match="set the encoder's model to small-vit-quickgelu"):
        load_weights(tower("vit"), tmp_path / "openai.pt")
    encoder = tower("vit-quickgelu")
    load_weights(encoder, tmp_path / "openai.pt")
    wanted = whole.encode_image(encoder.normalize(batch((32, 32))))
    torch.testing.assert_close(encoder(batch((32, 32))).pooled, wanted, atol=5e-3, rtol=5e-3)


def test_other_weights_are_refused_in_a_sentence(tmp_path):
    torch.save({"vision_model.embeddings.class_embedding": torch.zeros(32)}, tmp_path / "hf.pt")
    with pytest.raises(SensoriumError, match="weights of transformers: name open_clip's file"):
        load_weights(tower("vit"), tmp_path / "hf.pt")
    torch.save(library("clipa").state_dict(), tmp_path / "other.pt")
    with pytest.raises(SensoriumError, match=r"2 missing \(visual.ln_pre"):
        load_weights(tower("vit"), tmp_path / "other.pt")


@torch.no_grad()
def test_a_folder_brings_weights_and_preprocessing(tmp_path):
    whole = library("vit")
    pixels = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT}
    stored = {"model_cfg": config, "preprocess_cfg": pixels}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(stored))
    save_file({"vision_model.x": torch.zeros(1)}, tmp_path / "model.safetensors")  # of transformers, beside it
    save_file({n: t.clone() for n, t in whole.state_dict().items()}, tmp_path / "open_clip_model.safetensors")
    encoder = tower("vit", model=f"local-dir:{tmp_path}")
    assert isinstance(encoder, OpenClipVisionTransformer)
    assert encoder.mean == pixels["mean"]
    load_weights(encoder, encoder.own_weights)
    assert torch.equal(encoder(batch((32, 32))).pooled, whole.encode_image(encoder.normalize(batch((32, 32)))))
    other = tower("vit", model=f"local-dir:{tmp_path}", mean=[0.4, 0.4, 0.4])
    with pytest.raises(SensoriumError, match=r"'mean' is \[0.4, 0.4, 0.4\].*trained with \[0.5, 0.5, 0.5\]: leave out"):
        load_weights(other, other.own_weights)
    (tmp_path / "open_clip_model.safetensors").unlink()
    assert tower("vit", model=f"local-dir:{tmp_path}").own_weights is not None


def test_pixels_are_normalized_as_the_known_weights_of_an_architecture():
    from sensorium.modalities.open_clip import preprocessings

    assert list(preprocessings("ViT-B-16-SigLIP")[0]["mean"]) == [0.5, 0.5, 0.5]
    assert preprocessings("ViT-L-14")[0]["mean"][0] == pytest.approx(0.48145466)
    assert len({tuple(way["mean"]) for way in preprocessings("ViT-L-14")}) == 2
    assert preprocessings("small-vit")[0]["mean"][0] == pytest.approx(0.48145466)


@pytest.mark.parametrize(("fit", "word"), [("crop", "shortest"), ("stretch", "squash"), ("pad", "longest")])
def test_exports_say_how_images_were_brought_to_the_size(fit, word):
    encoder = OpenClipVisionTransformer(ImageModality(size=32, fit=fit, background="white"), "small-vit")
    preprocess = encoder.tower_of("open_clip", torch.eye(24))["preprocess"]
    assert preprocess["resize_mode"] == word
    assert preprocess.get("fill_color") == ([255, 255, 255] if fit == "pad" else None)


def test_stretched_images_are_asked_for(tmp_path, caplog):
    config = {"model_cfg": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config | {"preprocess_cfg": {"resize_mode": "squash"}}))
    torch.save(library("vit").state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    caplog.set_level("INFO")
    encoder = tower("vit", model=f"local-dir:{tmp_path}")
    load_weights(encoder, encoder.own_weights)
    assert "stretched to a square: set fit: stretch" in caplog.text


def test_what_cannot_be_built_is_said():
    with pytest.raises(SensoriumError, match="did you mean 'small-vit'"):
        tower("vitt")
    with pytest.raises(SensoriumError, match="3 channels"):
        OpenClipImage(ImageModality(size=32, channels=1), "small-vit")


def test_it_builds_the_image_tower_of_models_with_a_text_tower_of_transformers(monkeypatch):
    import open_clip

    text = {"hf_model_name": "not-here", "hf_tokenizer_name": "not-here"}
    config = {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": text}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small-hf", config)
    assert tower("hf")(batch((32, 32))).pooled.shape == (3, 24)


def test_own_weights_are_all_trained_with_no_text_tower_among_them():
    encoder = tower("vit")
    assert all(name.startswith("visual.") for name in encoder.state_dict())
    encoder.train()(batch((32, 32))).pooled.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize("name", ["vit", "coca", "siglip"])
def test_the_host_waits_for_nothing(name):
    _, waits = encoded_on_device(tower(name, 64).train(), batch((64, 64)))
    assert not waits, table(waits)
