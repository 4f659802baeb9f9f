"""Sample images, and tiny models, on which the conformance kit checks the modality, its encoders and its views."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SIZES = ((96, 96), (80, 120), (128, 64), (64, 64))


def sample_images() -> list[bytes]:
    """Return four small drawings in files of several formats, shapes and modes."""
    return [_drawing(i, size) for i, size in enumerate(SIZES)]


def _drawing(number: int, size: tuple[int, int]) -> bytes:
    """Draw an ellipse on a gradient, in different colors; one image is grayscale, one transparent."""
    mode, format = (("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"))[number]
    image = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.radial_gradient("L").resize(size))
    box = (number * 5, number * 9, size[0] // 2, size[1] // 2)
    ImageDraw.Draw(image).ellipse(box, fill=("tomato", "gold", "white", "teal")[number])
    file = BytesIO()
    image.save(file, format)
    return file.getvalue()


@cache
def _home() -> tempfile.TemporaryDirectory:
    """Return a folder that is removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix="sensorium-samples-")


def tiny_transformer() -> dict[str, Any]:
    """Return options for a DINOv2 of two narrow blocks with random weights, written as `save_pretrained` writes it."""
    if find_spec("transformers") is None:  # the parts that need it are then skipped
        return {}
    import torch
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    path = Path(_home().name) / "transformer"
    if not path.exists():
        config = Dinov2WithRegistersConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=16,
            layerscale_value=1.0,
        )
        with torch.random.fork_rng([]):
            Dinov2WithRegistersModel(config).save_pretrained(path)
        normalization = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        (path / "preprocessor_config.json").write_text(json.dumps(normalization), encoding="utf-8")
    return {"model": str(path), "modality": {"size": 64}}


def tiny_open_clip() -> dict[str, Any]:
    """Return options for a narrow architecture of open_clip, a folder with its configuration and no weights."""
    path = Path(_home().name) / "open_clip"
    if not path.exists():
        path.mkdir()
        vision = {"image_size": 64, "patch_size": 16, "width": 32, "head_width": 16, "layers": 2}
        text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
        stored = {"model_cfg": {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}}
        (path / "open_clip_config.json").write_text(json.dumps(stored), encoding="utf-8")
    return {"model": f"local-dir:{path}", "modality": {"size": 64}}
