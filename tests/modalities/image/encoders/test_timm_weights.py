"""Weights of vision models in the layouts of their publishers, each made small, as their files name them."""

import logging

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import eva, naflexvit

from sensorium.errors import RecipeError
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.modalities.image.modality import ImageModality
from sensorium.weights import load_weights
from tests.modalities.image.encoders.timm_cases import SCALED, TINY, images, oblong, tiny

D = 48


def stored(weights, folder, name="weights.safetensors"):
    path = folder / name
    save_file({key: value.contiguous().clone() for key, value in weights.items()}, path)
    return str(path)


def of_timm(encoder):
    """Return the weights of a model of timm under timm's names."""
    return {key.removeprefix("model."): value for key, value in encoder.state_dict().items() if key != "mask_token"}


def other(encoder, name=None, **options):
    """Return an encoder of the same model with other weights."""
    made = Timm.variant({"model": name or encoder.name})(
        oblong(encoder.name), name or encoder.name, **{"model_kwargs": SCALED, **options}
    )
    return made.eval()


@torch.no_grad()
def assert_same_features(encoder, reference):
    batch = images(oblong(encoder.name))
    torch.testing.assert_close(encoder(batch).pooled, reference(batch).pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder(batch).tokens, reference(batch).tokens, atol=1e-5, rtol=1e-5)


def in_layout_of_dinov2(weights):
    """Return timm's weights as Meta publishes DINOv2."""
    meta = dict(weights, mask_token=torch.full((1, D), 0.3))
    if "reg_token" in meta:
        meta["register_tokens"] = meta.pop("reg_token")
        position = torch.full((1, 1, D), 0.2)
        meta["cls_token"] = meta["cls_token"] - position
        meta["pos_embed"] = torch.cat([position, meta["pos_embed"]], dim=1)
    return meta


@pytest.mark.parametrize("name", ["vit_base_patch14_dinov2.lvd142m", "vit_base_patch14_reg4_dinov2.lvd142m"])
def test_dinov2_as_meta_publishes_it(name, tmp_path):
    source = tiny(name)
    encoder = other(source)
    assert encoder.mask_embedding() is None
    report = load_weights(encoder, stored(in_layout_of_dinov2(of_timm(source)), tmp_path))
    assert_same_features(encoder, source)
    assert not report.missing
    assert not report.unexpected
    torch.testing.assert_close(encoder.mask_embedding(), torch.full((D,), 0.3))


def test_a_training_of_dinov2_has_a_teacher_and_chunks_of_blocks(tmp_path):
    source = tiny("vit_base_patch14_dinov2.lvd142m")
    meta = {key.replace("blocks.", "blocks.0."): value for key, value in in_layout_of_dinov2(of_timm(source)).items()}
    file = tmp_path / "teacher_checkpoint.pth"
    named = {f"backbone.{key}": value for key, value in meta.items()} | {
        "dino_head.last_layer.weight": torch.ones(2, 2)
    }
    torch.save({"teacher": named}, file)
    encoder = other(source)
    load_weights(encoder, str(file))
    assert_same_features(encoder, source)


def test_gated_feed_forward_layers_of_dinov2_giant(tmp_path):
    options = {"model_kwargs": {**SCALED, "mlp_ratio": 2.0}}
    source = tiny("vit_giant_patch14_dinov2.lvd142m", **options)
    meta = {
        key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value
        for key, value in in_layout_of_dinov2(of_timm(source)).items()
    }
    assert "blocks.0.mlp.w12.weight" in meta
    encoder = other(source, **options)
    load_weights(encoder, stored(meta, tmp_path))
    assert_same_features(encoder, source)


def in_layout_of_dinov3(source):
    """Return the weights of an encoder as Meta publishes DINOv3: one bias with a third that a mask silences."""
    weights, meta = of_timm(source), {}
    for key, value in weights.items():
        if key.endswith(("q_bias", "v_bias")):
            continue
        key = key.replace("reg_token", "storage_tokens").replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        meta[key] = value
    for block in range(2):
        parts = [weights.get(f"blocks.{block}.attn.{part}", torch.zeros(D)) for part in ("q_bias", "none", "v_bias")]
        parts[1] = torch.full((D,), 9.0)  # the k third, which the mask sets to 0
        meta[f"blocks.{block}.attn.qkv.bias"] = torch.cat(parts)
        meta[f"blocks.{block}.attn.qkv.bias_mask"] = torch.cat([torch.ones(D), torch.zeros(D), torch.ones(D)])
    return meta | {
        "mask_token": torch.full((1, D), 0.3),
        "rope_embed.periods": torch.ones(4),
        "local_cls_norm.weight": torch.ones(D),
    }


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3_qkvb.lvd1689m", "vit_small_patch16_dinov3.lvd1689m"])
def test_dinov3_as_meta_publishes_it(name, tmp_path, capsys):
    source = tiny(name, model_kwargs=SCALED)
    encoder = other(source)
    load_weights(encoder, stored(in_layout_of_dinov3(source), tmp_path))
    assert_same_features(encoder, source)
    torch.testing.assert_close(encoder.mask_embedding(), torch.full((D,), 0.3))
    assert capsys.readouterr().out == ""


def test_biases_that_a_model_of_dinov3_has_not_are_not_dropped(tmp_path):
    biased = tiny("vit_small_patch16_dinov3_qkvb.lvd1689m", model_kwargs=SCALED)
    plain = other(biased, "vit_small_patch16_dinov3.lvd1689m")
    with pytest.raises(RecipeError, match=r"biases of queries and values, .* name 'vit_small_patch16_dinov3_qkvb'"):
        load_weights(plain, stored(in_layout_of_dinov3(biased), tmp_path))


def test_the_licence_of_weights_is_in_the_log(tmp_path, caplog):
    source = tiny("vit_small_patch16_dinov3.lvd1689m", model_kwargs=SCALED)
    with caplog.at_level(logging.INFO, "sensorium"):
        load_weights(other(source), stored(of_timm(source), tmp_path))
    assert "'vit_small_patch16_dinov3.lvd1689m' have the licence dinov3-license" in caplog.text


def test_mae_with_its_decoder(tmp_path):
    source = tiny("vit_base_patch16_224.mae")
    decoder = {
        "mask_token": torch.ones(1, 1, D),
        "decoder_pos_embed": torch.ones(1, 7, D),
        "decoder_norm.bias": torch.ones(D),
    }
    encoder = other(source, model_kwargs=TINY)
    torch.save({"model": of_timm(source) | decoder}, tmp_path / "mae.pth")
    report = load_weights(encoder, str(tmp_path / "mae.pth"))
    assert_same_features(encoder, source)
    assert encoder.mask_embedding() is None, "that is the decoder's"
    assert "model.decoder_norm.bias" in report.unexpected


@pytest.mark.parametrize("prefix", ["module.", "encoder.module.", "backbone.", "visual.trunk.", "target_encoder."])
def test_prefixes_of_training_scripts(prefix, tmp_path):
    source = tiny("vit_huge_patch14_gap_224")
    named = {f"{prefix}{key}": value for key, value in of_timm(source).items()} | {
        "predictor.proj.weight": torch.ones(2)
    }
    encoder = other(source, model_kwargs=TINY)
    load_weights(encoder, stored(named, tmp_path))
    assert_same_features(encoder, source)


def test_of_two_networks_the_teacher_is_read(tmp_path):
    source, student = tiny("vit_base_patch16_224.mae"), tiny("vit_base_patch16_224.mae")
    named = {f"student.backbone.{key}": torch.zeros_like(value) for key, value in of_timm(student).items()}
    named |= {f"teacher.backbone.{key}": value for key, value in of_timm(source).items()}
    encoder = other(source, model_kwargs=TINY)
    load_weights(encoder, stored(named, tmp_path))
    assert_same_features(encoder, source)


def test_beit_with_the_table_that_pretraining_shares(tmp_path):
    source = tiny("beit_base_patch16_224")
    table = "attn.relative_position_bias_table"
    shared = source.model.blocks[0].attn.relative_position_bias_table.detach()
    source.model.blocks[1].attn.relative_position_bias_table.data.copy_(shared)
    mim = {key: value for key, value in of_timm(source).items() if table not in key}
    mim |= {f"rel_pos_bias.{table.partition('.')[2]}": shared, "mask_token": torch.full((1, 1, D), 0.3)}
    mim |= {"lm_head.weight": torch.ones(5, D), "rel_pos_bias.relative_position_index": torch.ones(2, 2)}
    mim |= {key.replace("fc_norm", "norm"): mim.pop(key) for key in list(mim) if key.startswith("fc_norm")}
    encoder = other(source)
    load_weights(encoder, stored(mim, tmp_path))
    assert_same_features(encoder, source)
    torch.testing.assert_close(encoder.mask_embedding(), torch.full((D,), 0.3))


def test_eva02_moves_the_norm_behind_pooling(tmp_path):
    source = tiny("eva02_base_patch14_224.mim_in22k")
    mim = of_timm(source) | {"mask_token": torch.full((1, 1, D), 0.3), "lm_head.weight": torch.ones(5, D)}
    mim |= {key.replace("fc_norm", "norm"): mim.pop(key) for key in list(mim) if key.startswith("fc_norm")}
    encoder = other(source, model_kwargs=TINY)
    load_weights(encoder, stored(mim, tmp_path))
    assert_same_features(encoder, source)


def test_naflex_reads_a_plain_vit(tmp_path):
    plain = tiny("vit_base_patch16_siglip_224.webli", ImageModality(size=48))
    options = {"model_kwargs": {**TINY, "pos_embed_grid_size": (3, 3), "act_layer": "gelu"}}
    encoder = Timm.variant({"model": "naflexvit_base_patch16_siglip"})(
        ImageModality(size=48), "naflexvit_base_patch16_siglip", **options
    )
    load_weights(encoder, stored(of_timm(plain), tmp_path))
    batch = images(ImageModality(size=48))
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(batch).pooled, plain(batch).pooled, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_big_vision_as_arrays_of_numpy(tmp_path):
    kernel = "params/img/"
    arrays = {f"{kernel}embedding/kernel": np.full((16, 16, 3, D), 0.01), f"{kernel}embedding/bias": np.zeros(D)}
    arrays |= {f"{kernel}pos_embedding": np.full((1, 6, D), 0.5)}
    for norm in (
        "Transformer/encoder_norm",
        *(f"Transformer/encoderblock_{i}/LayerNorm_{j}" for i in (0, 1) for j in (0, 1)),
    ):
        arrays |= {f"{kernel}{norm}/scale": np.full(D, 2.0), f"{kernel}{norm}/bias": np.zeros(D)}
    for i in (0, 1):
        block = f"{kernel}Transformer/encoderblock_{i}/"
        for part in ("query", "key", "value"):
            arrays |= {f"{block}MultiHeadDotProductAttention_0/{part}/kernel": np.ones((D, 3, 16))}
            arrays |= {f"{block}MultiHeadDotProductAttention_0/{part}/bias": np.zeros((3, 16))}
        arrays |= {f"{block}MultiHeadDotProductAttention_0/out/kernel": np.ones((3, 16, D))}
        arrays |= {f"{block}MultiHeadDotProductAttention_0/out/bias": np.zeros(D)}
        for j, (rows, columns) in enumerate(((D, 192), (192, D))):
            arrays |= {f"{block}MlpBlock_0/Dense_{j}/kernel": np.ones((rows, columns))}
            arrays |= {f"{block}MlpBlock_0/Dense_{j}/bias": np.zeros(columns)}
    np.savez(tmp_path / "siglip.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})
    encoder = tiny("vit_base_patch16_siglip_gap_224.webli", model_kwargs=TINY)
    load_weights(encoder, str(tmp_path / "siglip.npz"))
    assert torch.equal(encoder.model.pos_embed, torch.full((1, 6, D), 0.5))
    assert torch.equal(encoder.model.blocks[1].norm2.weight, torch.full((D,), 2.0))


@torch.no_grad()
def test_positions_of_another_size_are_resampled(tmp_path):
    for name in ("vit_base_patch14_reg4_dinov2.lvd142m", "beit_base_patch16_224"):
        side = 14 if "patch14" in name else 16
        large, small = (tiny(name, ImageModality(size=n * side)) for n in (4, 3))
        load_weights(small, stored(of_timm(large), tmp_path))
        assert torch.equal(small.model.blocks[0].mlp.fc1.weight, large.model.blocks[0].mlp.fc1.weight)
        batch = images(ImageModality(size=3 * side))
        if small.adds_positions:  # as a crop of the large one has them
            torch.testing.assert_close(small(batch).pooled, large(batch).pooled, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_weights_for_colors_serve_other_channels(tmp_path):
    source = tiny("vit_base_patch16_224.mae")
    gray = tiny("vit_base_patch16_224.mae", ImageModality(size=[32, 48], channels=1))
    load_weights(gray, stored(of_timm(source), tmp_path))
    color = source.model.patch_embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(gray.model.patch_embed.proj.weight, color)


def test_another_normalization_than_that_of_the_weights_is_an_error(tmp_path):
    source = tiny("vit_base_patch14_dinov2.lvd142m")
    path = stored(of_timm(source), tmp_path)
    load_weights(other(source, mean=[0.485, 0.456, 0.406]), path)
    for option in ("mean", "std"):
        wrong = other(source, **{option: [0.5, 0.5, 0.5]})
        with pytest.raises(
            RecipeError, match=rf"option {option} .* is \[0.5, 0.5, 0.5\], but .* made with \[0.*Leave out {option}"
        ):
            load_weights(wrong, path)


def test_weights_of_another_architecture_are_listed(tmp_path):
    deep = tiny("vit_base_patch14_dinov2.lvd142m", model_kwargs={**SCALED, "depth": 3})
    shallow = tiny("vit_base_patch14_dinov2.lvd142m")
    with pytest.raises(RecipeError, match=r"unexpected \(model.blocks.2"):
        load_weights(shallow, stored(of_timm(deep), tmp_path))
    resnet = timm.create_model("resnet10t")
    with pytest.raises(RecipeError, match=r"missing \(model"):
        load_weights(shallow, stored(resnet.state_dict(), tmp_path))


def test_weights_of_an_encoder_of_ours_are_read_as_they_are(tmp_path):
    source = tiny("vit_base_patch14_dinov2.lvd142m")
    source.mask_token.fill_(0.3)
    encoder = other(source)
    load_weights(encoder, stored(source.state_dict(), tmp_path))
    assert_same_features(encoder, source)
    assert encoder.mask_embedding() is not None


@torch.no_grad()
def test_weights_of_ours_at_another_size_are_resampled(tmp_path):
    large, small = (tiny("vit_base_patch14_dinov2.lvd142m", ImageModality(size=n * 14)) for n in (4, 3))
    large.mask_token.fill_(0.3)
    load_weights(small, stored(large.state_dict(), tmp_path))
    batch = images(ImageModality(size=3 * 14))
    torch.testing.assert_close(small(batch).pooled, large(batch).pooled, atol=1e-5, rtol=1e-5)
    assert small.mask_embedding() is not None


def test_weights_in_the_layout_of_transformers_are_named(tmp_path):
    theirs = {"embeddings.patch_embeddings.projection.weight": torch.ones(2), "embeddings.cls_token": torch.ones(2)}
    with pytest.raises(RecipeError, match=r"layout of transformers. Take the encoder 'transformers'"):
        load_weights(tiny("vit_base_patch14_dinov2.lvd142m"), stored(theirs, tmp_path))


def test_layouts_that_timm_reads_are_where_they_are_looked_for():
    assert all(hasattr(module, "checkpoint_filter_fn") for module in (eva, naflexvit))


def test_weights_of_patches_of_another_size_are_not_resampled_in_silence(tmp_path):
    options = {"depth": 1, "embed_dim": D, "num_heads": 3}
    model = timm.create_model("vit_small_patch16_224", num_classes=0, **options)
    path = stored(model.state_dict(), tmp_path)
    name = "vit_small_patch32_224"
    encoder = Timm.variant({"model": name})(ImageModality(size=64), name, model_kwargs=options)
    with pytest.raises(RecipeError, match="patches of 16x16 pixels, and 'vit_small_patch32_224' has patches of 32x32"):
        load_weights(encoder, path)
