"""Image towers of open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor

from sensorium import Encoder, Features, SensoriumError, at_least_one_row
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import Normalize
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.open_clip import LOCAL, configuration, merge_projection


class OpenClipImage(Encoder):
    """Image tower of any open_clip architecture (Radford et al. 2021; Ilharco et al. 2021), projection included.

    Weights are random or come from a checkpoint. The tower is built for the modality's size; positional embeddings of
    a checkpoint of another size are interpolated.

    Args:
        modality: the image modality, of three channels.
        model: name of the architecture in open_clip, such as ViT-B-32 or RN50; or local-dir:PATH, a folder with a
            configuration and weights, as open_clip and `sensorium export --format open-clip` write it.
        checkpoint: path of a file with weights of the whole model (safetensors or PyTorch); a folder brings its own.
        mean: per-channel mean of pixels in [0, 1]; default that of the architecture.
        std: per-channel standard deviation; likewise.
    """

    libraries = ("open_clip",)

    def __init__(
        self,
        modality: ImageModality,
        model: str = "ViT-B-32",
        checkpoint: str | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.config = model, configuration(model)
        if modality.channels != 3:
            raise SensoriumError(
                f"open_clip models take 3 channels, the modality 'image' has {modality.channels}: set channels to 3."
            )
        if checkpoint and not Path(checkpoint).is_file():
            raise SensoriumError(f"There is no checkpoint {checkpoint}: check the path.")
        if checkpoint and model.startswith(LOCAL):
            raise SensoriumError(f"'{model}' has its own weights: leave out checkpoint, or name an architecture.")
        if "hf_model_name" in self.config["text_cfg"]:
            raise SensoriumError(
                f"open_clip builds '{model}' only with its text tower from a model hub; choose one with its own, "
                "such as ViT-B-32."
            )
        height, width = modality.size
        side = height if height == width else modality.size  # its ResNets take square images only
        try:
            # open_clip has no public way to build one tower; the text tower is dropped at once.
            self.visual = open_clip.create_model(model, pretrained=checkpoint, force_image_size=side).visual
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            origin = f" from {checkpoint}" if checkpoint else ""
            raise SensoriumError(
                f"The model '{model}' cannot be built{origin} for {height}x{width} pixels: {error or 'no fit'}."
            ) from error
        pixels = self.visual.preprocess_cfg
        self.mean, self.std, self.size = mean or pixels["mean"], std or pixels["std"], modality.size
        self.normalize = Normalize(3, self.mean, self.std)
        self.dim = self.config["embed_dim"]

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        return Features(self.visual(at_least_one_row(self.normalize(batch)))[: len(batch)])

    def tower_of(self, library: str, head_ED: Tensor) -> dict[str, Any]:
        """Return the vision side of an open_clip model, with a linear map (E, D) merged into the tower's projection."""
        height, width = self.size
        size = height if height == width else [height, width]
        vision = {**self.config["vision_cfg"], "image_size": size}
        if "timm_model_name" in vision:
            vision["timm_model_pretrained"] = False
        return {
            "side": "vision",
            "width": head_ED.shape[1],
            "config": vision,
            "quick_gelu": bool(self.config.get("quick_gelu", False)),
            "weights": merge_projection(self.visual, ("proj", "attnpool.c_proj", "head.proj"), head_ED),
            "preprocess": {
                "size": size,
                "mode": "RGB",
                "mean": list(self.mean),
                "std": list(self.std),
                "interpolation": "bilinear",
                "resize_mode": "shortest",
            },
        }
