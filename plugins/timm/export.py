"""The exporter to timm."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

from sensorium import Exporter, SensoriumError, Verification, largest_difference
from sensorium.errors import not_found

CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""The file names that timm expects."""
IMAGES = 7
"""Random images on which both are compared."""
CROP_MODES = {"crop": "center", "pad": "border", "stretch": "squash"}
"""How the modality brings images to its size -> timm's word for it."""


class Timm(Exporter):
    """Writes a folder from which timm makes the encoder, `local-dir:PATH`, with the same pooled features.

    Weights, the arguments of the architecture, and size, mean and standard deviation of images are in it. The encoder
    declares timm in its `libraries`. What lies behind the encoder, such as a joint space, is not in it.

    Args:
        modality: whose encoder; None for the only one that timm serves.
    """

    library = "timm"

    def __init__(self, modality: str | None = None) -> None:
        self.modality = modality

    def export(self, model, folder):
        """Write the folder."""
        name, tower = self._tower(model)
        modality = model.plan.modalities[name]
        _require_border(modality, tower["mean"])
        size = list(modality.size)
        shape = [len(tower["mean"]), *size]
        config = {
            "architecture": tower["architecture"],
            "num_classes": 0,
            "num_features": model.learner.encoder(name).dim,
            "pretrained_cfg": {
                "num_classes": 0,
                "input_size": shape,
                "fixed_input_size": "img_size" in tower["model_args"],
                "interpolation": "bilinear",
                "crop_pct": 1.0,
                "crop_mode": CROP_MODES[modality.fit_to_size],
                "mean": tower["mean"],
                "std": tower["std"],
            },
            "model_args": tower["model_args"],
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
        weights = {key: tensor.detach().cpu().contiguous() for key, tensor in tower["weights"].items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        return (
            f'model = timm.create_model("local-dir:{folder}", pretrained=True).eval()\n'
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)\n"
            "features = model(transform(image)[None])  # image: of Pillow"
        )

    def verify(self, model, folder):
        """Create the model anew with timm, and show it random images as timm prepares them."""
        import timm
        from PIL import Image

        name, _ = self._tower(model)
        modality, encoder = model.plan.modalities[name], model.learner.encoder(name).eval()
        theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        data = timm.data.resolve_model_data_config(theirs)
        found = {}
        batch = modality.random_batch(IMAGES, False, torch.Generator().manual_seed(0))
        if modality.channels == 3:
            transform = timm.data.create_transform(**data, is_training=False)
            images = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in batch.pixels]
            prepared = torch.stack([transform(image) for image in images])
            found["pixels of images of other shapes"] = modality.compare(transform, data["mean"], data["std"])
        else:
            mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
            prepared = (batch.pixels / 255 - mean) / std
        with torch.no_grad():
            difference = largest_difference(encoder(batch).pooled, theirs(prepared), "features")
            found = {f"features of {IMAGES} images": difference, **found}
        side = " x ".join(map(str, modality.size))
        takes = (
            f"It takes float images ({modality.channels}, {side}), normalized; timm's transform resizes, crops and "
            "normalizes images of Pillow, with the size, mean and standard deviation in config.json.",
            "It gives pooled features; what lies behind the encoder is not in it.",
            *([modality.cropping_note] if modality.fit_to_size == "crop" else []),
        )
        return Verification("timm", found, takes)

    def _tower(self, model):
        """Return the name of the modality, and its encoder as timm makes it."""
        there = {name: encoder for name, encoder in model.learner.encoders.items() if "timm" in encoder.libraries}
        if not there:
            kinds = ", ".join(f"{name}: {type(e).__name__}" for name, e in model.learner.encoders.items())
            raise SensoriumError(
                f"The format timm is for encoders of images that timm has (timm, and vit unless causal), not {kinds}; "
                "the format 'encoders' takes any."
            )
        if self.modality is None and len(there) > 1:
            raise SensoriumError(f"Name the modality to export: modality={' or modality='.join(there)}.")
        name = self.modality or next(iter(there))
        if name not in there:
            problem = f"The option 'modality' names '{name}', whose encoder timm does not have"
            raise SensoriumError(not_found(problem, name, there, f"it has those of {', '.join(there)}"))
        encoder = there[name]
        return name, encoder.tower_of("timm", torch.eye(encoder.dim))


def _require_border(modality, mean):
    """Refuse borders of another color than timm's, which is the mean that it subtracts."""
    theirs = tuple(round(255 * value) for value in mean)
    if modality.fit_to_size != "pad" or modality.border == theirs:
        return
    ours, wanted = (f"#{''.join(f'{value:02x}' for value in color)}" for color in (modality.border, theirs))
    raise SensoriumError(
        f"The run pads images with the color {ours} (fit: pad), and timm with the mean of the normalization, {wanted}: "
        f"train with background: '{wanted}', or with another fit, or choose the format 'encoders', which takes any."
    )
