"""Image: photographs, drawings, scans; one, three or any number of channels."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.image"
_COLORS = {"strength": 0.3, "gray": 0.0}
"""Kinds of emoji are told by their colors, which views therefore leave them."""

sensorium_samples = {"image": f"{_HOME}.samples:images"}

sensorium_matrix = {
    "columns/image": {
        "about": "1,918 OpenMoji pictures (CC BY-SA 4.0) at 32 pixels, nine kinds: flag, face, animal and so on",
        "data": {"source": {"name": "openmoji", "size": 32, "tones": False}, "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32},
                "views": [
                    {"name": "simclr", "scale": (0.4, 1.0), **_COLORS},
                    {
                        "name": "multicrop",
                        "small_views": 4,
                        "large_scale": (0.5, 1.0),
                        "small_scale": (0.2, 0.5),
                        **_COLORS,
                    },
                    "plain",
                    "rotation",
                    {"name": "jigsaw", "tiles": 2, "permutations": 24, "gray": 0.0, "even": False},
                    {"name": "colorization", "patch": 8},
                ],
                "encoders": [
                    {"name": "cnn", "width": 16},
                    {"name": "vit", "patch": 8, "width": 96, "depth": 3, "heads": 3},
                    {"name": "vit", "patch": 8, "width": 96, "depth": 3, "heads": 3, "causal": True},
                ],
            }
        },
        "evaluator": {"name": "knn", "label": "kind"},
        "metric": "accuracy",
        "optimizer": {"lr": 2e-3},
    }
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register(
        "image", f"{_HOME}.modality:ImageModality", summary="pictures in every format that Pillow reads, and arrays"
    )


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    home = f"{_HOME}.encoders"
    register("cnn", f"{home}.cnn:CNN", modality="image", summary="a small convolutional network, quick on a CPU")
    register("timm", f"{home}.timm:Timm", modality="image", summary="any image model of timm, by name")
    register("vit", f"{home}.vit:ViT", modality="image", summary="a vision transformer that shows its tokens")
    register(
        "open-clip-image",
        f"{home}.open_clip_image:OpenClipImage",
        modality="image",
        summary="the image tower of any open_clip architecture",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    home = f"{_HOME}.views"
    register("plain", f"{home}.plain:Plain", modality="image", summary="the picture itself")
    register("photo", f"{home}.photo:Photo", modality="image", summary="one mild crop, for pictures that have a text")
    register("simclr", f"{home}.simclr:SimCLRViews", modality="image", summary="crops with color jitter, gray and blur")
    register(
        "multicrop", f"{home}.multicrop:Multicrop", modality="image", summary="large crops and small ones, as in DINO"
    )
    register("rotation", f"{home}.rotation:Rotation", modality="image", summary="quarter turns, to be told apart")
    register("jigsaw", f"{home}.jigsaw:Jigsaw", modality="image", summary="shuffled tiles, whose order is to be told")
    register(
        "colorization",
        f"{home}.colorization:Colorization",
        modality="image",
        summary="lightness alone; each patch's color is to be told",
    )
    register(
        "random-patches",
        f"{home}.patch_masks:RandomPatches",
        modality="image",
        summary="a crop with patches hidden at random",
    )
    register(
        "block-patches",
        f"{home}.patch_masks:BlockPatches",
        modality="image",
        summary="a crop with rectangles of patches hidden",
    )
