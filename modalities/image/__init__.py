"""Image: photographs, drawings, scans; one, three or any number of channels."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.image"

sensorium_samples = {"image": f"{_HOME}.samples:pictures"}


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
    register("simclr", f"{home}.simclr:SimCLR", modality="image", summary="crops with colour jitter, grey and blur")
    register(
        "multicrop", f"{home}.multicrop:Multicrop", modality="image", summary="large crops and small ones, as in DINO"
    )
    register("rotation", f"{home}.rotation:Rotation", modality="image", summary="quarter turns, to be told apart")
    register(
        "random-patches",
        f"{home}.patches:RandomPatches",
        modality="image",
        summary="a crop with patches hidden at random",
    )
    register(
        "block-patches",
        f"{home}.patches:BlockPatches",
        modality="image",
        summary="a crop with rectangles of patches hidden",
    )
