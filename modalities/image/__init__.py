"""Image: photographs, drawings, scans, of one, three or any number of channels."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.image"
_COLORS = {"strength": 0.3, "gray": 0.0}
"""Emoji classes depend on color, so color augmentation is weak."""

_TINY = {"embed_dim": 48, "depth": 2, "num_heads": 3, "init_values": 1.0}
sensorium_options = {
    "encoders/timm": [
        {"modality": {"size": 64}},
        {"model": "vit_small_patch16_dinov3_qkvb", "model_kwargs": _TINY, "modality": {"size": 64}},
        {"model": "beitv2_base_patch16_224", "model_kwargs": _TINY, "modality": {"size": 64}},
        {"model": "vit_base_patch16_siglip_224", "model_kwargs": {**_TINY, "init_values": None}},
    ],
    "encoders/open-clip-image": f"{_HOME}.samples:tiny_open_clip",
    "encoders/transformers": f"{_HOME}.samples:tiny_transformer",
}
sensorium_samples = {"image": f"{_HOME}.samples:sample_images"}

sensorium_matrix = {
    "columns/image": {
        "description": "1,918 OpenMoji images (CC BY-SA 4.0) at 32 pixels, nine classes: flag, face, animal and so on",
        "data": {"source": {"name": "openmoji", "size": 32, "tones": False}, "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32},
                "views": [
                    {"name": "simclr", "scale": (0.4, 1.0), **_COLORS},
                    {
                        "name": "multicrop",
                        "local_views": 4,
                        "global_scale": (0.5, 1.0),
                        "local_scale": (0.2, 0.5),
                        **_COLORS,
                    },
                    "plain",
                    "rotation",
                    {"name": "jigsaw", "grid": 2, "permutations": 24, "gray": 0.0, "normalize": False},
                    {"name": "colorization", "patch": 8},
                ],
                "encoders": [
                    {"name": "cnn", "width": 16},
                    {"name": "vit", "patch": 8, "width": 96, "depth": 3, "heads": 3},
                    {"name": "vit", "patch": 8, "width": 96, "depth": 3, "heads": 3, "causal": True},
                ],
            }
        },
        "evaluator": {"name": "knn", "label": "category"},
        "metric": "accuracy",
        "optimizer": {"lr": 2e-3},
    }
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register("image", f"{_HOME}.modality:ImageModality", summary="images in every format that Pillow reads, and arrays")


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    encoders = {
        "cnn": ("cnn:CNN", "small convolutional network, fast on a CPU"),
        "timm": ("timm:Timm", "any image model of timm, by name"),
        "vit": ("vit:ViT", "vision transformer (ViT), with tokens"),
        "open-clip-image": ("open_clip_image:OpenClipImage", "image tower of any open_clip architecture"),
    }
    for name, (target, summary) in encoders.items():
        register(name, f"{_HOME}.encoders.{target}", modality="image", summary=summary)
    register(
        "transformers",
        f"{_HOME}.encoders.transformers:TransformersImage",
        modality="image",
        summary="image model of Hugging Face transformers, from a folder (DINOv2, DINOv3, SigLIP, MAE), with tokens",
        requires=["transformers"],
        extra="text",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    views = {
        "plain": ("plain:PlainViews", "the image without augmentation"),
        "random-resized-crop": (
            "random_resized_crop:RandomResizedCropViews",
            "one random resized crop of at least 90 % of the image, as in CLIP",
        ),
        "simclr": ("simclr:SimCLRViews", "random resized crop, flip, color jitter, grayscale and blur, as in SimCLR"),
        "multicrop": ("multicrop:MultiCropViews", "global and local crops with color jitter and blur, as in DINO"),
        "rotation": ("rotation:RotationViews", "rotation by 0, 90, 180 or 270 degrees, the target, as in RotNet"),
        "jigsaw": ("jigsaw:JigsawViews", "shuffled tiles, with the permutation as target (jigsaw puzzles)"),
        "colorization": ("colorization:ColorizationViews", "grayscale, with the color of each patch as target"),
        "random-patch-mask": (
            "patch_masks:RandomPatchMaskViews",
            "one crop and a uniformly random mask over patches, as in MAE",
        ),
        "block-patch-mask": (
            "patch_masks:BlockPatchMaskViews",
            "one crop and a block-wise mask over patches, as in BEiT",
        ),
    }
    for name, (target, summary) in views.items():
        register(name, f"{_HOME}.views.{target}", modality="image", summary=summary)
