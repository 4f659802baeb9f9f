"""Tiny models of every family of vision transformers in timm, whose blocks move a token enough to see its position."""

import torch

from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.modalities.image.modality import ImageModality

TINY = {"embed_dim": 48, "depth": 2, "num_heads": 3}
SCALED = {**TINY, "init_values": 1.0}
FAMILIES = {
    "vit_base_patch16_224.mae": TINY,
    "vit_base_patch14_dinov2.lvd142m": SCALED,
    "vit_base_patch14_reg4_dinov2.lvd142m": SCALED,
    "vit_base_patch16_siglip_224.webli": TINY,
    "vit_base_patch16_clip_224.openai": TINY,
    "vit_huge_patch14_gap_224": TINY,
    "deit_tiny_distilled_patch16_224": TINY,
    "vit_base_patch16_dinov3.lvd1689m": SCALED,
    "vit_small_patch16_dinov3_qkvb": SCALED,
    "vit_pe_core_base_patch16_224": TINY,
    "eva02_base_patch14_224.mim_in22k": TINY,
    "vit_small_patch16_rope_mixed_224": TINY,
    "beit_base_patch16_224": SCALED,
    "beitv2_base_patch16_224": SCALED,
    "naflexvit_base_patch16_siglip": TINY,
    "naflexvit_base_patch16_par_gap": SCALED,
}
"""Model of timm -> arguments that make it tiny."""


def patch_of(name: str) -> int:
    return 14 if "patch14" in name else 16


def oblong(name: str) -> ImageModality:
    """Return a modality of 2 x 3 patches of a model."""
    return ImageModality(size=[2 * patch_of(name), 3 * patch_of(name)])


def tiny(name: str, modality: ImageModality | None = None, **options):
    """Return a tiny model as an encoder, every weight of which is random: tables of positions, scales, norms."""
    torch.manual_seed(0)
    options = {"model": name, "model_kwargs": FAMILIES.get(name, TINY)} | options
    encoder = Timm.variant(options)(modality or oblong(name), **options)
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))
    return encoder.eval()


def images(modality: ImageModality, count: int = 3) -> ImageBatch:
    drawn = torch.Generator().manual_seed(2)
    return ImageBatch(torch.rand(count, modality.channels, *modality.size, generator=drawn))
