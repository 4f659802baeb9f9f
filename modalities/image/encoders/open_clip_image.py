"""The image tower of any open_clip architecture."""

from __future__ import annotations

from pathlib import Path

import open_clip

from sensorium import Encoder, Features, SensoriumError
from sensorium.errors import nearest
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalise import Normalise
from sensorium.modalities.image.modality import ImageModality


class OpenClipImage(Encoder):
    """The image tower of an open_clip architecture; weights start random or come from a file.

    The tower is built for the modality's size; positions of a checkpoint of another size are interpolated.

    Args:
        modality: the image modality, of three channels.
        model: name of the architecture in open_clip, such as ViT-B-32 or RN50.
        checkpoint: path of a file with weights of the whole model (safetensors or PyTorch).
        mean: mean of the pixels in [0, 1], by colour; default that of the architecture.
        std: their deviation; likewise.
    """

    def __init__(
        self,
        modality: ImageModality,
        model: str = "ViT-B-32",
        checkpoint: str | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        super().__init__()
        if model not in open_clip.list_models():
            raise SensoriumError(f"open_clip has no model '{model}'{nearest(model, open_clip.list_models())}.")
        if modality.channels != 3:
            raise SensoriumError(
                f"The models of open_clip see 3 channels, the modality 'image' has {modality.channels}."
            )
        if checkpoint and not Path(checkpoint).is_file():
            raise SensoriumError(f"There is no file of weights {checkpoint}.")
        if "hf_model_name" in open_clip.get_model_config(model)["text_cfg"]:
            raise SensoriumError(
                f"open_clip builds '{model}' only with its text tower from a model hub; choose one with its own, "
                "such as ViT-B-32."
            )
        height, width = modality.size
        side = height if height == width else modality.size  # its ResNets know square pictures alone
        try:
            # open_clip has no public way to build one tower; the text tower is dropped at once.
            self.visual = open_clip.create_model(model, pretrained=checkpoint, force_image_size=side).visual
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            origin = f" from {checkpoint}" if checkpoint else ""
            raise SensoriumError(
                f"The model '{model}' cannot be made{origin} for {height}x{width} pixels: {error or 'no fit'}."
            ) from error
        config = self.visual.preprocess_cfg
        self.normalise = Normalise(3, mean or config["mean"], std or config["std"])
        self.dim = open_clip.get_model_config(model)["embed_dim"]

    def forward(self, batch: ImageBatch) -> Features:
        """Encode pictures to features."""
        return Features(self.visual(self.normalise(batch)))
