"""Pretrained audio models of Hugging Face transformers: what all families share.

Letters: B clips, T tokens, D width.
"""

from __future__ import annotations

import json
import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from sensorium import TokenEncoder
from sensorium.errors import RecipeError
from sensorium.weights import folder_of

if TYPE_CHECKING:
    from sensorium.modalities.audio.modality import AudioModality

log = logging.getLogger("sensorium")
Pool = Literal["auto", "mean", "prefix"]
MASK = "masked_spec_embed"
"""Name of the mask token in models of transformers."""
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
"""Files of a folder that say how waveforms are prepared for its model."""


def model_type_of(model: str) -> str:
    """Return the `model_type` that the config.json of a folder names.

    Raises:
        RecipeError: when there is none.
    """
    file = folder_of(model) / "config.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError) as error:
        raise RecipeError(
            f"'{model}' is no model of transformers, for it has no config.json with a model_type: name a folder that "
            "save_pretrained wrote, or the same as hub:NAME."
        ) from error


class PretrainedAudio(TokenEncoder):
    """An audio model of transformers, built from the config.json of a folder; its families say how tokens pass it."""

    default_preprocessing: ClassVar[str]
    """Feature extractor of transformers that is assumed of a folder without one."""
    since = 4
    """Major version of transformers from which on its blocks are called as here."""
    has_prefix = False
    """Whether it has class tokens, by whose mean its own library pools."""
    has_max_length = False
    """Whether all its spectrograms have one length."""

    def __init__(self, modality: AudioModality, model: str, pool: Pool = "auto", max_length: int | None = None) -> None:
        super().__init__()
        self.name, self.folder = model, folder_of(model)
        self._check_options(modality, pool, max_length)
        try:
            self.config = AutoConfig.from_pretrained(self.folder)
            self.prepares = self._preprocessing()
        except (OSError, ValueError, KeyError) as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise RecipeError(f"transformers cannot read the folder '{model}': {said}.") from error
        if (rate := self.prepares.sampling_rate) != modality.sample_rate:
            raise RecipeError(
                f"The model '{model}' is one of audio at {rate} Hz, and the modality gives {modality.sample_rate} Hz: "
                f"set sample_rate of the modality to {rate}."
            )
        self.pools_prefix = self.has_prefix and pool != "mean"
        self.model = with_mask_as_buffer(self._network(self.config, max_length)).float()
        self.dim = self.config.hidden_size

    def _check_options(self, modality: AudioModality, pool: Pool, max_length: int | None) -> None:
        installed = version("transformers")
        if int(installed.partition(".")[0]) < self.since:
            raise RecipeError(
                f"The model '{self.name}' needs transformers {self.since} or newer, and {installed} is installed: "
                "upgrade it."
            )
        if modality.channels != 1:
            raise RecipeError(f"The model '{self.name}' takes one channel, not {modality.channels}: set channels to 1.")
        if pool == "prefix" and not self.has_prefix:
            raise RecipeError(f"The model '{self.name}' has no class token to pool: set pool to mean, or leave it out.")
        if max_length is not None and not self.has_max_length:
            raise RecipeError(f"The model '{self.name}' takes clips of any length: leave out max_length.")

    def _preprocessing(self) -> Any:
        """Return the feature extractor of transformers that belongs to the model."""
        if any((self.folder / file).exists() for file in PREPROCESSING):
            return AutoFeatureExtractor.from_pretrained(self.folder)
        import transformers

        made = getattr(transformers, self.default_preprocessing)()
        log.warning(
            "'%s' has no preprocessor_config.json: the preprocessing of %s is assumed, at %d Hz.",
            self.name,
            self.default_preprocessing,
            made.sampling_rate,
        )
        return made

    def _network(self, config: Any, max_length: int | None) -> nn.Module:
        """Return the model with random weights."""
        network: nn.Module = AutoModel.from_config(config)
        return network

    def mask_embedding(self) -> Tensor | None:
        """Return the model's mask token (D,), None where it was trained without one."""
        mask_D: Tensor | None = getattr(self.model, MASK, None)
        return mask_D

    @property
    def own_weights(self) -> str | None:
        """The folder."""
        return self.name


def with_mask_as_buffer(network: nn.Module) -> nn.Module:
    """Return a model whose mask token is a buffer: no pass uses it, and objectives train one of their own."""
    mask_D = getattr(network, MASK, None)
    if isinstance(mask_D, nn.Parameter):
        delattr(network, MASK)
        network.register_buffer(MASK, mask_D.detach().clone())
    return network


def first_tensor(output: Any) -> Tensor:
    """Return the tokens that a block returned, alone or before other outputs."""
    return output if isinstance(output, Tensor) else output[0]


def visible_tokens(mask_BT: Tensor, keep_BK: Tensor | None) -> Tensor:
    """Return which tokens are valid, and kept, bool (B, T)."""
    if keep_BK is None:
        return mask_BT
    return torch.zeros_like(mask_BT).scatter(1, keep_BK, mask_BT.gather(1, keep_BK))


def attended_tokens(mask_BT: Tensor) -> Tensor:
    """Return which tokens attention sees: the valid ones, or all of a row without one, so that it stays finite."""
    return mask_BT | ~mask_BT.any(1, keepdim=True)
