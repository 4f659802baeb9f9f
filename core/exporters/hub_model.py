"""Encoders of any modality as models of Hugging Face transformers, for those that transformers has no class for."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from sensorium.errors import RunError
from sensorium.exporters.encoders import make_encoder
from sensorium.exporters.model_folders import brought, placed
from sensorium.registration.discovery import load_extensions
from sensorium.runs.atomic import write_atomically
from sensorium.types import Batch, Features

KIND = "sensorium"
"""The `model_type` in config.json."""
WHERE = ("revision", "subfolder", "cache_dir", "token", "local_files_only")
"""Arguments that say where, and which one, a folder of the hub is."""


class SensoriumConfig(PreTrainedConfig):
    """What `AutoConfig` reads of such a folder.

    Args:
        modality: name of the modality.
        encoder: what the encoder is made of: its tower of the recipe, the fitted state of its modality, its plugins.
        kwargs: what every configuration of transformers has.
    """

    model_type = KIND

    def __init__(self, modality: str = "", encoder: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.modality, self.encoder = modality, dict(encoder or {})


class SensoriumModel(PreTrainedModel):
    """An encoder of Sensorium with its modality, as `AutoModel.from_pretrained` opens it.

    Args:
        config: names the encoder.
        weights: as the folder has them; None for random ones.
    """

    config_class = SensoriumConfig
    main_input_name = "batch"

    def __init__(self, config: SensoriumConfig, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(config)
        made = make_encoder(config.modality, config.encoder, weights, load_extensions(), {})
        self.modality, self.encoder = made

    @classmethod
    def from_pretrained(cls, name: str | Path, *args: Any, **kwargs: Any) -> SensoriumModel:  # type: ignore[override]
        """Return the model of a folder, or of a repository of the hub, in evaluation mode.

        It is made on the CPU whole: encoders have constants that are no weights, which no file of weights restores.

        Args:
            name: the folder or repository.
            args: of transformers; of them nothing is used.
            kwargs: likewise, but for `config`, `torch_dtype` or `dtype`, and where the hub keeps it (`revision` and so
                on).
        """
        where = {key: kwargs[key] for key in WHERE if kwargs.get(key) is not None}
        config = copy(kwargs.get("config") or SensoriumConfig.from_pretrained(name, **where))
        file = cached_file(name, SAFE_WEIGHTS_NAME, **where)
        if file is None:
            raise RunError(f"{name} has no {SAFE_WEIGHTS_NAME}: export the run again, in the format 'huggingface'.")
        config.encoder = placed(config.encoder, Path(file).parent)
        model: Any = cls(config, load_file(file))
        dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
        made: SensoriumModel = model.to(dtype) if isinstance(dtype, torch.dtype) else model
        return made

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *, state_dict: Mapping[str, Tensor] | None = None, **kwargs: Any
    ) -> None:
        """Write the model, trained further or not, as the export of a run writes it.

        Args:
            save_directory: the folder.
            state_dict: weights in place of its own, as a trainer gathered them.
            kwargs: of transformers; of them nothing is used.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        name, config = self.config.modality, copy(self.config)
        tower = brought(config.encoder["tower"], folder, f"{name}-files")
        config.encoder = {**config.encoder, "tower": tower, "state": self.modality.state()}
        config.architectures = [type(self).__name__]
        config.save_pretrained(folder)
        prefix, weights = "encoder.", self.state_dict() if state_dict is None else state_dict
        tensors = {key.removeprefix(prefix): w.detach().cpu().clone().contiguous() for key, w in weights.items()}
        write_atomically(folder / SAFE_WEIGHTS_NAME, partial(save_file, tensors, metadata={"format": "pt"}))

    def batch(self, values: Any) -> Batch:
        """Return raw values, such as paths, arrays or texts, as a batch on the device of the model."""
        return self.modality.collate([self.modality.decode(value) for value in values]).to(self.device)

    def forward(self, batch: Batch | None = None, **tensors: Tensor) -> BaseModelOutputWithPooling:
        """Encode a batch: its features as `pooler_output` (B, D), tokens (B, T, D) as `last_hidden_state`, if any.

        Args:
            batch: what `batch` returned.
            tensors: the tensors of such a batch by name, in place of it.
        """
        if batch is None:
            batch = type(self.modality.random_batch(1, False, torch.Generator()))(**tensors)
        features: Features = self.encoder(batch)
        return BaseModelOutputWithPooling(last_hidden_state=features.tokens, pooler_output=features.pooled)


AutoConfig.register(KIND, SensoriumConfig, exist_ok=True)
AutoModel.register(SensoriumConfig, SensoriumModel, exist_ok=True)
