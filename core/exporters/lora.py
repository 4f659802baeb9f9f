"""Export of the low-rank adapter of a run alone, in the layout of peft."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file
from torch import Tensor

from sensorium.blocks.lora import is_transposed
from sensorium.errors import RunError, SensoriumError, not_found
from sensorium.evaluation.labels import choose_column
from sensorium.exporters.base import Exporter
from sensorium.runs.atomic import write_atomically, write_text

if TYPE_CHECKING:
    from sensorium.models.model import Model
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The file names that peft expects."""
_FACTOR = re.compile(r"(?P<map>.+)\.lora_weight\.(?P<factor>A|B|scale)")


class LoraAdapter(Exporter):
    """Writes the adapter of one encoder as `peft.PeftModel.from_pretrained` reads it, without the weights it adapts.

    Every other exporter writes weights in which the adapter is merged.

    Args:
        modality: whose encoder; None for the only one.
        root: the module of the encoder from which the names of maps count, such as "model" where the encoder is built
            around a model of a library: the adapter is then one of that model.
    """

    def __init__(self, modality: str | None = None, root: str = "") -> None:
        self.modality, self.root = modality, root

    def export(self, model: Model, folder: Path) -> str:
        """Write the files."""
        name = choose_column("modality", self.modality, list(model.modalities))
        owner = model.learner.sharing[name]
        found = self._maps(_factors(model, f"encoders.{owner}."))
        order = [path for path, _ in model.learner.encoder(name).named_modules()]
        maps = dict(sorted(found.items(), key=lambda item: order.index(f"{self._prefix}{item[0]}")))
        (rank, alpha), others = _size(next(iter(maps.values()))), {_size(factors) for factors in maps.values()}
        assert len(others) == 1, "a recipe gives all maps of an encoder one rank and one factor"
        encoder, tensors = model.learner.encoder(name), {}
        transposed = {path for path in maps if is_transposed(encoder.get_submodule(self._prefix + path))}
        for path, factors in maps.items():
            a_RI, b_OR = factors["A"], factors["B"]
            if path in transposed:  # peft has the factors of the map, whatever the layout of its weight
                a_RI, b_OR = b_OR.T, a_RI.T
            tensors[f"base_model.model.{path}.lora_A.weight"] = a_RI.contiguous()
            tensors[f"base_model.model.{path}.lora_B.weight"] = b_OR.contiguous()
        tower = model.plan.recipe.modalities[owner]
        config = {
            "peft_type": "LORA",
            "base_model_name_or_path": tower.weights,
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "target_modules": list(maps),
            "bias": "none",
            "fan_in_fan_out": bool(transposed),
            "init_lora_weights": True,
            "inference_mode": True,
            "modules_to_save": None,
            "task_type": None,
        }
        write_atomically(folder / WEIGHTS, partial(save_file, tensors, metadata={"format": "pt"}))
        write_text(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False))
        base = f"the module '{self.root}' of the encoder" if self.root else "the encoder"
        return f'adapted = peft.PeftModel.from_pretrained(base, "{folder}")  # base: {base}, with its first weights'

    @property
    def _prefix(self) -> str:
        return f"{self.root}." if self.root else ""

    def _maps(self, factors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the factors of each linear map, by its name under the root."""
        maps: dict[str, dict[str, Tensor]] = {}
        for name, tensor in factors.items():
            match = _FACTOR.fullmatch(name)
            if match is None:
                attention = name.rpartition(".lora_")[0]
                raise SensoriumError(
                    f"The layout of peft has no place for the adapter of {attention}.in_proj, the input projection of "
                    "a torch.nn.MultiheadAttention: export the merged weights, in the format 'encoders'."
                )
            if not match["map"].startswith(self._prefix):
                roots = sorted({key.partition(".")[0] for key in factors})
                problem = f"The option 'root' is '{self.root}', but the adapted map {match['map']} is not in it"
                raise SensoriumError(not_found(problem, self.root, roots, f"modules: {', '.join(roots)}"))
            maps.setdefault(match["map"].removeprefix(self._prefix), {})[match["factor"]] = tensor
        return maps


def _factors(model: Model, prefix: str) -> dict[str, Tensor]:
    """Return the factors of an encoder by their names in it.

    Raises:
        RunError: when the run has none.
    """
    found = {name.removeprefix(prefix): x.cpu() for name, x in model.adapters.items() if name.startswith(prefix)}
    has_adapters = any(tower.lora is not None for tower in model.plan.recipe.modalities.values())
    if not found and has_adapters and model.plan.recipe.train.ema is not None:
        raise RunError(
            "The model of the run is the average of its adapted weights (train.ema), which is no low-rank adapter: "
            "export the merged weights, in the format 'encoders'."
        )
    if not found:
        raise RunError(
            "The run has no adapter to export: train one with modalities.NAME.lora={rank: 8}; the format 'encoders' "
            "takes any run."
        )
    return found


def _size(factors: dict[str, Tensor]) -> tuple[int, float]:
    """Return rank and alpha."""
    rank = factors["A"].shape[0]
    return rank, round(float(factors["scale"]) * rank, 6)
