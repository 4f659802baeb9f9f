"""A small convolutional network."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from sensorium import Encoder, Features, LayerStack, check_range
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import MEAN, STD, Normalize
from sensorium.modalities.image.modality import ImageModality


class CNN(Encoder):
    """Small convolutional network: strided 3x3 convolutions with batch norm and ReLU, for images of 32 to 96 pixels.

    Each block halves the resolution and doubles the channels. The pooled features are the global average of the last
    feature map; its positions are the tokens. It trains in minutes on a CPU.

    Args:
        modality: the image modality.
        width: channels of the first block, >= 1.
        depth: number of blocks, >= 1; the features have width * 2 ** (depth - 1) dimensions.
    """

    channels_last = True

    def __init__(self, modality: ImageModality, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        check_range("encoder 'cnn'", "[1, inf)", width=width, depth=depth)
        self.normalize = Normalize(modality.channels, MEAN, STD)
        widths = [modality.channels, *(width * 2**i for i in range(depth))]
        self.blocks = nn.Sequential(*map(_block, widths, widths[1:]))
        self.dim = widths[-1]

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        map_BDHW = self.blocks(self.normalize(batch))
        pooled_BD = map_BDHW.mean(dim=(2, 3), dtype=torch.promote_types(map_BDHW.dtype, torch.float32))
        return Features(pooled_BD, map_BDHW.flatten(2).transpose(1, 2))

    def layer_stack(self) -> LayerStack:
        """Return its blocks; the positions of their feature maps are tokens."""
        return LayerStack(self.blocks, tokens_of=_positions)


def _positions(map_BDHW: Tensor, features: Features) -> tuple[Tensor, None]:
    """Return the positions of a feature map as tokens (B, H x W, D), all valid."""
    return map_BDHW.flatten(2).transpose(1, 2), None


def _block(channels: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width), act=nn.ReLU(inplace=True)))
