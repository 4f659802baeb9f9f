"""Vision transformers of timm as token encoders."""

import pytest
import timm
import torch
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from sensorium import SensoriumError, TokenEncoder, build
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders import timm_models
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.modalities.image.encoders.timm_families import resampled_bias_table
from sensorium.modalities.image.encoders.timm_tokens import TimmTokens
from sensorium.modalities.image.modality import ImageModality
from tests.modalities import pretrained_case
from tests.modalities.image.encoders.timm_cases import FAMILIES, SCALED, TINY, images, oblong, tiny

OF_EACH_CLASS = (
    "vit_base_patch16_siglip_224.webli",
    "vit_base_patch16_dinov3.lvd1689m",
    "beitv2_base_patch16_224",
    "naflexvit_base_patch16_par_gap",
)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


@pytest.fixture(scope="module")
def encoders():
    return {name: tiny(name) for name in FAMILIES}


def in_timm(encoder, pool=None):
    """Return timm's own model with the weights of an encoder."""
    options = FAMILIES.get(encoder.name, TINY)
    own = timm_models.create(encoder.name, oblong(encoder.name), 0.0, options).eval()
    if pool is not None:
        own.reset_classifier(0, {"mean": "avg"}.get(pool, pool))
    own.load_state_dict(encoder.model.state_dict())
    return own


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_a_token_encoder(encoders, name):
    encoder = encoders[name]
    assert isinstance(encoder, TimmTokens)
    assert encoder.grid == (2, 3)
    pretrained_case.check_family(encoder, images(oblong(name)))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_features_are_those_of_timm(encoders, name):
    encoder, batch = encoders[name], images(oblong(name))
    own = in_timm(encoder, "token" if "dinov3" in name else None)  # pooled as its authors do
    features, x = encoder(batch), own.forward_features(encoder.normalize(batch))
    pooled = own.forward_head(x, pre_logits=True)
    torch.testing.assert_close(features.tokens, x[:, own.num_prefix_tokens :], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features.pooled, pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pool", ["token", "mean", "max"])
@pytest.mark.parametrize(
    "name", ["vit_base_patch14_reg4_dinov2.lvd142m", "vit_base_patch16_dinov3.lvd1689m", "vit_small_patch16_224"]
)
@torch.no_grad()
def test_every_pooling_is_that_of_timm(name, pool):
    encoder, batch = tiny(name, pool=pool), images(oblong(name))
    own = in_timm(encoder, pool)
    pooled = own.forward_head(own.forward_features(encoder.normalize(batch)), pre_logits=True)
    torch.testing.assert_close(encoder(batch).pooled, pooled, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pooling_of_a_model_that_normalizes_behind_it():
    for pool in ("token", "mean"):
        encoder = tiny("beit_base_patch16_224", pool=pool)
        own, batch = in_timm(encoder, pool), images(oblong(encoder.name))
        x = own.forward_features(encoder.normalize(batch))
        assert not torch.allclose(x.mean(-1), torch.zeros(()), atol=1e-2), "tokens leave without a norm"
        pooled = own.forward_head(x, pre_logits=True)
        torch.testing.assert_close(encoder(batch).pooled, pooled, atol=1e-5, rtol=1e-5)
    without = tiny("vit_base_patch16_siglip_224.webli", pool="mean")
    assert not any("attn_pool" in name for name in without.state_dict())


def test_pooling_that_a_model_does_not_have_is_refused():
    with pytest.raises(SensoriumError, match="no class token: set pool to mean or auto"):
        tiny("vit_base_patch16_siglip_224.webli", pool="token")
    with pytest.raises(SensoriumError, match="no attention pooling: set pool to token, mean or auto"):
        tiny("vit_base_patch14_dinov2.lvd142m", pool="map")


@pytest.mark.parametrize("name", OF_EACH_CLASS)
def test_every_objective_of_tokens_takes_a_step(encoders, name):
    pretrained_case.check_every_objective(encoders[name], "image", images(oblong(name)))


@pytest.mark.parametrize("name", [name for name in FAMILIES if "beit" not in name])
@torch.no_grad()
def test_crops_have_a_grid_of_their_own(encoders, name):
    encoder = encoders[name]
    crop = ImageBatch(images(oblong(name)).pixels[..., : encoder.patch[1]])
    features, own = encoder(crop), in_timm(encoder)
    assert features.tokens.shape[1] == 2
    x = own.forward_features(encoder.normalize(crop))
    torch.testing.assert_close(features.tokens, x[:, own.num_prefix_tokens :], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_crops_of_a_model_with_relative_positions():
    encoder = tiny("beitv2_base_patch16_224", ImageModality(size=48))
    crop = ImageBatch(images(ImageModality(size=48)).pixels[..., :32])
    pretrained_case.check_kept_tokens(encoder, crop)
    table = encoder.model.blocks[0].attn.relative_position_bias_table
    same = resampled_bias_table(table, (3, 3), (3, 3))
    torch.testing.assert_close(same, table)
    assert resampled_bias_table(table, (3, 3), (3, 2)).shape == (5 * 3 + 3, 3)
    rows_of_class_token = resampled_bias_table(table, (3, 3), (2, 2))[-3:]
    assert torch.equal(rows_of_class_token, table[-3:])


def test_views_that_patches_do_not_tile_are_refused(encoders):
    encoder = encoders["vit_base_patch16_224.mae"]
    with pytest.raises(SensoriumError, match=r"Patches of 16x16 pixels .* do not tile images of 30x48"):
        encoder(ImageBatch(torch.rand(1, 3, 30, 48)))
    with pytest.raises(SensoriumError, match="do not tile images of 100x100"):
        tiny("vit_base_patch14_dinov2.lvd142m", ImageModality(size=100))


def test_other_models_stay_as_they_are_and_say_so():
    for name in (
        "resnet18",
        "swin_tiny_patch4_window7_224",
        "convnext_atto",
        "xcit_nano_12_p16_224",
        "samvit_base_patch16",
    ):
        assert Timm.variant({"model": name}) is Timm
    with pytest.raises(SensoriumError, match="no vision transformer with patches: leave out the option pool"):
        Timm(ImageModality(size=32), "resnet10t", pool="mean")


@register_model
def _strangers_vit(pretrained=False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **options):
    return Stranger(**{"patch_size": 16, **TINY, **options})


class Stranger(VisionTransformer):
    """What another package registers in timm."""


class Windowed(VisionTransformer):
    """A model that computes features in its own way."""

    def forward_features(self, x, attn_mask=None, is_causal=False):
        return super().forward_features(x) + 1


def test_a_model_that_another_package_registers_is_served(monkeypatch):
    options = {"model": "_strangers_vit"}
    assert Timm.variant(options) is TimmTokens
    pretrained_case.check_family(tiny("_strangers_vit"), images(oblong("_strangers_vit")))
    timm_models.class_of.cache_clear()
    monkeypatch.setattr("tests.modalities.image.encoders.test_timm_tokens.Stranger", Windowed)
    assert Timm.variant(options) is Timm
    timm_models.class_of.cache_clear()


def test_build_makes_the_variant():
    modality = ImageModality(size=32)
    assert isinstance(build("encoder", "timm", modality, model="test_vit"), TokenEncoder)
    assert not isinstance(build("encoder", "timm", modality, model="resnet10t"), TokenEncoder)


def test_the_layer_stack_is_in_the_order_of_tokens(encoders):
    for name, encoder in encoders.items():
        stack, seen = encoder.layer_stack(), []
        keep = seen.append
        handles = [block.register_forward_hook(lambda _, __, x, keep=keep: keep(x)) for block in stack.blocks]
        features = encoder(images(oblong(name)))
        for handle in handles:
            handle.remove()
        assert len(seen) == len(stack.blocks) == 2
        assert seen[-1].shape[1] == stack.prefix + 6
        last = seen[-1] if encoder.model.norm is not stack.norm else stack.norm(seen[-1])
        torch.testing.assert_close(last[:, stack.prefix :], features.tokens)
        assert stack.norm is not None
        deep = {id(p) for module in (*stack.blocks, *stack.behind) for p in module.parameters()}
        shallow = [name for name, p in encoder.named_parameters() if id(p) not in deep]
        stem = (
            "patch_embed",
            "embeds",
            "pos_embed",
            "cls_token",
            "reg_token",
            "dist_token",
            "norm_pre",
            "rope",
            "rel_pos",
        )
        assert all(any(part in name for part in stem) for name in shallow), shallow


@torch.no_grad()
def test_an_adapter_in_place_of_qkv_is_called():
    """timm reads `qkv.weight` past the layer where query and value have biases apart."""
    for name in ("vit_small_patch16_dinov3_qkvb", "beit_base_patch16_224"):
        encoder = tiny(name)
        before = encoder(images(oblong(name))).pooled
        for block in encoder.model.blocks:
            block.attn.qkv.register_forward_hook(lambda _, __, x: x * 1.5)
        assert not torch.allclose(encoder(images(oblong(name))).pooled, before, atol=1e-4)


def test_pixels_are_normalized_as_for_the_weights_that_the_name_has():
    assert tiny("vit_base_patch16_clip_224.openai").normalize.mean.flatten().tolist() == pytest.approx(CLIP_MEAN)
    satellite = tiny("vit_large_patch16_dinov3.sat493m", model_kwargs=SCALED)
    assert satellite.normalize.mean.flatten().tolist() == pytest.approx([0.43, 0.411, 0.296])
    assert satellite.pool == "token"


def test_rotary_angles_are_not_augmented_in_training():
    encoder = tiny("vit_base_patch16_dinov3.lvd1689m", model_kwargs={**SCALED, "rope_rescale_coords": 2.0})
    assert encoder.model.rope.aug_active, "timm would draw a scale in each pass"
    batch = images(oblong(encoder.name))
    torch.testing.assert_close(encoder.train()(batch).pooled, encoder.eval()(batch).pooled)


def test_distilled_models_take_the_size_of_the_modality():
    encoder = tiny("deit_tiny_distilled_patch16_224")
    assert timm.create_model(encoder.name).patch_embed.grid_size == (14, 14)
    assert encoder.model.patch_embed.grid_size == (2, 3)


MODULES = ("vision_transformer", "eva", "beit", "deit", "naflexvit", "vision_transformer_hybrid", "vitamin")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
@torch.no_grad()
def test_every_transformer_that_timm_lists_has_the_features_of_timm(module):
    """`pytest -m slow tests/modalities/image/encoders/test_timm_tokens.py`: some 290 names, two blocks each."""
    widths = (TINY, {**TINY, "num_kv_heads": 1}, {"depth": 2})
    modality = ImageModality(size=224)  # which patches of 8, 14, 16 and 32 pixels tile
    for name in timm.list_models(module=module):
        for width in widths:
            try:
                encoder = tiny(name, modality, model_kwargs=width)
            except SensoriumError as refused:
                error = refused
            else:
                break
        else:
            raise AssertionError(f"{name}: {error}")
        own = timm_models.create(name, modality, 0.0, width).eval()
        own.attn_pool = getattr(own, "attn_pool", None) if encoder.pool in ("map", "prr") else None
        own.load_state_dict(encoder.model.state_dict())
        batch = images(modality, 2)
        x, features = own.forward_features(encoder.normalize(batch)), encoder(batch)
        scale = max(1.0, float(x.abs().max()))
        torch.testing.assert_close(
            features.tokens / scale, x[:, encoder.prefix :] / scale, atol=1e-5, rtol=1e-5, msg=name
        )
        if "dinov3" not in name:  # pooled as its authors do
            pooled = own.forward_head(x, pre_logits=True)
            scale = max(1.0, float(pooled.abs().max()))
            torch.testing.assert_close(features.pooled / scale, pooled / scale, atol=1e-5, rtol=1e-5, msg=name)
