"""Image models of timm."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import timm
from torch import Tensor, nn

from sensorium import Encoder, Features, SensoriumError, TokenEncoder
from sensorium.errors import RecipeError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders import timm_models
from sensorium.modalities.image.encoders.normalize import MEAN, STD, Normalize
from sensorium.modalities.image.encoders.timm_weights import in_timm_layout
from sensorium.modalities.image.modality import ImageModality

log = logging.getLogger("sensorium")
SMALL = 64
"""Images up to this side keep their resolution in the stem of a ResNet."""
UNUSED = ("mask_token", "head.*", "head_dist.*", "fc_norm.*", "attn_pool.*", "lm_head.*", "decoder_*", "pre_logits.*")
"""Weights of timm's models, and of trainings of their architectures, that a model without them has no use for."""


class Timm(Encoder):
    """Any image model of timm, without its classifier.

    Vision transformers are token encoders: their patches are tokens, apart from class and register tokens. Served are
    VisionTransformer (ViT, DeiT, DINOv2, SigLIP, CLIP, MAE, I-JEPA, AIMv2), Eva (DINOv3, EVA-02, Perception Encoder),
    Beit (BEiT, BEiT v2) and NaFlexVit. Other models have pooled features, and the positions of their last feature map
    where these have the same width. Images of another size than the modality's (local crops) are accepted where
    patches tile them.

    Name a model with the tag of its weights, such as vit_large_patch16_dinov3.sat493m, so that pixels are normalized
    as they were for these weights.

    Args:
        modality: the image modality.
        model: name of the model in timm, such as resnet18 or vit_small_patch14_dinov2.lvd142m.
        pool: pooled features of a vision transformer: its class token, the mean or the maximum of its patches, or its
            attention pooling ("map"); "auto" is the model's own, for DINOv3 that of its authors, the class token.
        stem: of a ResNet: "standard" (7x7 convolution of stride 2 and max pool, for photographs), "small" (3x3
            convolution of stride 1, no pool, as is usual for CIFAR) or "auto": small for images up to 64 pixels.
            Weights of timm need the standard one.
        mean: per-channel mean of pixels in [0, 1]; default that of the model in timm. Weights have one of their own,
            and another is an error with them.
        std: per-channel standard deviation; likewise.
        drop_path: stochastic depth rate in [0, 1), for models that have it.
        model_kwargs: further arguments of the model's class in timm, such as {"depth": 6}.
    """

    libraries = ("timm",)
    model: Any  # timm's models share methods, but no class that declares them

    @classmethod
    def variant(cls, options: Mapping[str, Any]) -> type[Encoder]:
        """Return the token encoder for a vision transformer; this class for other models."""
        from sensorium.modalities.image.encoders.timm_families import family_of
        from sensorium.modalities.image.encoders.timm_tokens import TimmTokens

        kind = timm_models.class_of(options.get("model", "resnet18"))
        return TimmTokens if family_of(kind) is not None else cls

    @classmethod
    def published_weights(cls, options: Mapping[str, Any]) -> str | None:
        """Return the repository of timm's weights for a model, as "hub:NAME"."""
        config = timm.get_pretrained_cfg(options.get("model", "resnet18"))
        return f"hub:{config.hf_hub_id}" if config is not None and config.hf_hub_id else None

    def __init__(
        self,
        modality: ImageModality,
        model: str = "resnet18",
        pool: Literal["auto", "token", "mean", "max", "map"] = "auto",
        stem: Literal["auto", "standard", "small"] = "auto",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        drop_path: float = 0.0,
        model_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if pool != "auto" and not isinstance(self, TokenEncoder):
            raise SensoriumError(
                f"The model '{model}' is no vision transformer with patches: leave out the option pool."
            )
        self.name = model
        self.pool: str = pool
        self._made_with = timm_models.arguments(model, modality, drop_path, model_kwargs)
        self.model = timm_models.create(model, modality, drop_path, model_kwargs)
        is_resnet = isinstance(self.model, timm.models.ResNet)
        if stem == "small" and not is_resnet:
            raise SensoriumError(
                f"Only ResNets have a small stem, and '{model}' is not one: leave out the option stem."
            )
        self.has_small_stem = is_resnet and (stem == "small" or (stem == "auto" and max(modality.size) <= SMALL))
        if self.has_small_stem:
            _shrink_stem(self.model)
        self.config = getattr(self.model, "pretrained_cfg", None) or {"mean": MEAN, "std": STD}
        self.given = {"mean": mean, "std": std}
        self.normalize = Normalize(modality.channels, mean or self.config["mean"], std or self.config["std"])
        self.dim = getattr(self.model, "head_hidden_size", None) or self.model.num_features
        classifier = self.config.get("classifier") or ()
        classifiers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        self.ignores = tuple(f"model.{name}" for name in (*UNUSED, *(f"{name}.*" for name in classifiers)))

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        x = self.model.forward_features(self.normalize(batch))
        pooled = self.model.forward_head(x, pre_logits=True)
        return Features(pooled.flatten(1), self._tokens(x))

    def _tokens(self, x: Tensor) -> Tensor | None:
        if x.ndim == 3:
            x = x[:, getattr(self.model, "num_prefix_tokens", 0) :]
        elif x.ndim == 4 and getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            x = x.flatten(1, 2)
        elif x.ndim == 4:
            x = x.flatten(2).transpose(1, 2)
        return x if x.ndim == 3 and x.shape[-1] == self.dim else None

    def tower_of(self, library: str, head_ED: Tensor) -> Mapping[str, Any]:
        """Return the model as timm makes it anew: architecture, arguments, weights, mean and standard deviation.

        Raises:
            SensoriumError: for a stem, or a pooling, that timm's model does not have.
        """
        if self.has_small_stem:
            raise SensoriumError(
                f"The model '{self.name}' has a stem for small images, which timm has no option for: train with stem: "
                "standard, or choose the format 'encoders', which takes any."
            )
        return {
            "architecture": self.name.partition(".")[0],
            "model_args": {**self._made_with, **self._pooling_arguments()},
            "weights": self.model.state_dict(),
            "mean": self.normalize.mean.flatten().tolist(),
            "std": self.normalize.std.flatten().tolist(),
        }

    def _pooling_arguments(self) -> dict[str, Any]:
        """Return the arguments by which timm's model pools as the encoder does."""
        return {}

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of timm, or of an upstream repository whose layout timm knows, under its own names.

        Raises:
            RecipeError: when mean, std or stem are not those that the weights were made with.
        """
        own = {name.removeprefix("model."): tensor for name, tensor in weights.items() if name.startswith("model.")}
        if own.keys() & self.model.state_dict().keys():
            return {**weights, **self._of_ours(own)}
        if self.has_small_stem:
            raise RecipeError(
                f"the weights of '{self.name}' were made with a stem for large images. Set the encoder's stem to "
                "standard."
            )
        for option, value in self.given.items():
            made_with = list(self.config[option])
            if value is not None and list(value) != made_with:
                raise RecipeError(
                    f"the option {option} of the encoder 'timm' is {list(value)}, but the weights of '{self.name}' "
                    f"were made with {made_with}. Leave out {option}, or set weights to random."
                )
        converted, mask_token_D = in_timm_layout(self.model, self.name, weights)
        if licence := self.config.get("license"):
            log.info(
                "The weights of '%s' have the licence %s, which what is made from them has to keep.", self.name, licence
            )
        named = {f"model.{name}": tensor for name, tensor in converted.items()}
        return named if mask_token_D is None else {**named, "mask_token": mask_token_D}

    def _of_ours(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of another `timm` of ours, of a run at another image size, say, under its names."""
        shapes = {name: tensor.shape for name, tensor in self.model.state_dict().items()}
        if any(tensor.shape != shapes[name] for name, tensor in own.items() if name in shapes):
            own, _ = in_timm_layout(self.model, self.name, own)
        return {f"model.{name}": tensor for name, tensor in own.items()}


def _shrink_stem(model: Any) -> None:
    """Keep the full resolution of small images in a ResNet's stem (He et al. 2016, section 4.2)."""
    if isinstance(model.conv1, nn.Sequential):  # three 3x3 convolutions, of which the first has the stride
        model.conv1[0].stride = (1, 1)  # type: ignore[assignment]
    else:
        old = model.conv1
        model.conv1 = nn.Conv2d(old.in_channels, old.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
