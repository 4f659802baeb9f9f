"""Image models of timm."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import nn

from sensorium import Encoder, Features, SensoriumError
from sensorium.errors import did_you_mean
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import Normalize
from sensorium.modalities.image.modality import ImageModality

SMALL = 64
"""Images up to this side keep their resolution in the stem of a ResNet."""


class Timm(Encoder):
    """Any image model of timm, without its classifier; weights are random or come from a checkpoint.

    Tokens are those of a transformer, or the positions of the last feature map of a convolutional network, when they
    have the width of the pooled features.

    Args:
        modality: the image modality.
        model: name of the model in timm, such as resnet18 or vit_small_patch16_224.
        stem: of a ResNet: "standard" (7x7 convolution of stride 2 and max pool, for photographs), "small" (3x3
            convolution of stride 1, no pool, as is usual for CIFAR) or "auto": small for images up to 64 pixels,
            unless there is a checkpoint.
        checkpoint: path of a file with weights of this model (safetensors or PyTorch).
        mean: per-channel mean of pixels in [0, 1]; default that of the model in timm.
        std: per-channel standard deviation; likewise.
        drop_path: stochastic depth rate in [0, 1), for models that have it.
    """

    model: Any  # timm's models share methods, but no class that declares them

    def __init__(
        self,
        modality: ImageModality,
        model: str = "resnet18",
        stem: Literal["auto", "standard", "small"] = "auto",
        checkpoint: str | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not timm.is_model(model):
            raise SensoriumError(f"timm has no model '{model}'{did_you_mean(model, timm.list_models()) or '.'}")
        if checkpoint and stem == "small":
            raise SensoriumError("A checkpoint needs the stem it was trained with: set stem to standard.")
        self.model = _create(model, modality, checkpoint, drop_path)
        if stem == "small" or (stem == "auto" and not checkpoint and max(modality.size) <= SMALL):
            if isinstance(self.model, timm.models.ResNet):
                _shrink_stem(self.model)
            elif stem == "small":
                raise SensoriumError(
                    f"Only ResNets have a small stem, and '{model}' is not one: leave out the option stem."
                )
        config = self.model.pretrained_cfg
        self.normalize = Normalize(modality.channels, mean or config["mean"], std or config["std"])
        self.dim = getattr(self.model, "head_hidden_size", None) or self.model.num_features

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        x = self.model.forward_features(self.normalize(batch))
        pooled = self.model.forward_head(x, pre_logits=True)
        return Features(pooled.flatten(1), self._tokens(x))

    def _tokens(self, x: torch.Tensor) -> torch.Tensor | None:
        if x.ndim == 3:
            x = x[:, getattr(self.model, "num_prefix_tokens", 0) :]
        elif x.ndim == 4 and getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            x = x.flatten(1, 2)
        elif x.ndim == 4:
            x = x.flatten(2).transpose(1, 2)
        return x if x.ndim == 3 and x.shape[-1] == self.dim else None


def _create(model: str, modality: ImageModality, checkpoint: str | None, drop_path: float) -> Any:
    with torch.device("meta"):  # allocates nothing; the signature of the model's class says which options it has
        kind = type(timm.create_model(model))
    known = inspect.signature(kind.__init__).parameters
    preferred: dict[str, Any] = {"img_size": modality.size, "dynamic_img_size": True, "drop_path_rate": drop_path}
    options = {name: value for name, value in preferred.items() if name in known}
    if drop_path and "drop_path_rate" not in options:
        raise SensoriumError(f"The model '{model}' has no stochastic depth: leave out the option drop_path.")
    if checkpoint:
        if not Path(checkpoint).is_file():
            raise SensoriumError(f"There is no checkpoint {checkpoint}: check the path.")
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": checkpoint}}
    try:
        return timm.create_model(model, in_chans=modality.channels, num_classes=0, **options)
    except Exception as error:
        size = "x".join(map(str, modality.size))
        origin = f" from {checkpoint}" if checkpoint else ""
        raise SensoriumError(
            f"The model '{model}' cannot be built{origin} for images of {size}: {str(error).splitlines()[0]}."
        ) from error


def _shrink_stem(model: Any) -> None:
    """Keep the full resolution of small images in a ResNet's stem (He et al. 2016, section 4.2)."""
    if isinstance(model.conv1, nn.Sequential):  # three 3x3 convolutions, of which the first has the stride
        model.conv1[0].stride = (1, 1)  # type: ignore[assignment]
    else:
        old = model.conv1
        model.conv1 = nn.Conv2d(old.in_channels, old.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
