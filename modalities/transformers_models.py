"""Models of Hugging Face transformers: their folders and configurations, weights in any layout, layers by depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from sensorium import LayerStack, weights
from sensorium.errors import RecipeError

HUB = "hub:"
WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json")
"""Files of a folder in which `save_pretrained` leaves weights."""


def model_folder(model: str) -> Path:
    """Return the folder of a model: the path itself, one in the local cache of the hub, or a download of "hub:NAME".

    Raises:
        RecipeError: when there is none.
    """
    if model.startswith(HUB) or Path(model).expanduser().is_dir():
        return weights.folder_of(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except Exception as error:  # a name that is none, or one that is not in the cache
        raise RecipeError(
            f"No model can be read from '{model}': give a local folder that save_pretrained wrote, the name of a model "
            f"that is in the Hugging Face cache of this machine, or {HUB}NAME to download it; without {HUB} nothing is "
            "downloaded during a run."
        ) from error


def read_config(folder: Path, dropout: float | None = None) -> PreTrainedConfig:
    """Return the configuration of a model's folder, without the randomness that its library hides.

    Layers that are left out at random while training (layerdrop) and noise of routers are off: such draws leave weights
    without a gradient, on which several processes wait.

    Args:
        folder: where config.json is.
        dropout: what every dropout of the configuration is set to, in [0, 1); None leaves them as they are.

    Raises:
        RecipeError: when it cannot be read, or asks for code of its own.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise RecipeError(
            f"The folder '{folder}' has no configuration that transformers can read: {reason}. Give a folder that "
            "save_pretrained wrote, of an architecture that is a part of transformers; code of a folder is not run."
        ) from error
    for name, value in config.to_dict().items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if "layerdrop" in name or "jitter" in name:
            setattr(config, name, 0.0)
        elif dropout is not None and "drop" in name:
            setattr(config, name, dropout)
    return config


def has_weights(folder: Path) -> bool:
    """Return whether a folder has weights beside its configuration."""
    return any(next(folder.glob(pattern), None) is not None for pattern in WEIGHTS)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the loading reports and progress bars of transformers: what is missing is told by an error or a log."""
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def loaded(cls: type[PreTrainedModel], config: PreTrainedConfig, stored: Mapping[str, Tensor]) -> tuple[Any, Any]:
    """Return a new model with weights of a file in any layout that its library reads, and the library's report.

    The library knows the prefixes of models with heads, names of older versions, and tied weights. Random numbers that
    it draws for what the file lacks leave the global generators as they are.
    """
    with quiet(), torch.random.fork_rng([]):
        made: Any = cls.from_pretrained(
            None,
            config=config,
            state_dict=dict(stored),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    model, report = made
    return model, report


def convert(
    cls: type[PreTrainedModel],
    config: PreTrainedConfig,
    part: Callable[[Any], nn.Module],
    stored: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return weights of a file under the names of a part of a model, and those of the file's heads under their own.

    Args:
        cls: the model's class.
        config: its configuration.
        part: the part of such a model, such as its encoder.
        stored: the file's.

    Returns:
        Weights of the part: without those that the file lacks, as they are stored where their shape differs, and with
        names of the file that the model does not know. And weights of modules that the model does not have at all.
    """
    model, report = loaded(cls, config, stored)
    tensors, wanted = (one.state_dict(keep_vars=True) for one in (model, part(model)))
    differing = {name: shape for name, shape, _ in report["mismatched_keys"]}
    absent = {id(tensors[name]) for name in {*report["missing_keys"], *differing} if name in tensors}
    found = {name: tensor.detach() for name, tensor in wanted.items() if id(tensor) not in absent}
    shapes = {id(tensors[name]): shape for name, shape in differing.items()}
    found |= {name: torch.empty(shapes[id(t)], device="meta") for name, t in wanted.items() if id(t) in shapes}
    prefix, children = f"{cls.base_model_prefix}.", {name for name, _ in model.named_children()}
    as_now = {name.replace(".gamma", ".weight").replace(".beta", ".bias"): tensor for name, tensor in stored.items()}
    heads: dict[str, Tensor] = {}
    for name in report["unexpected_keys"]:
        outside = name.removeprefix(prefix).partition(".")[0] not in children
        renamed = torch.empty(0)  # what the library renames otherwise is known by its name alone
        (heads if outside else found)[name] = {**as_now, **stored}.get(name, renamed)
    return found, heads


def layers_of(model: nn.Module, run: Callable[[], Any]) -> tuple[list[str], list[str], str | None]:
    """Return the names of a model's blocks, of the modules behind the last of them, and of the final norm.

    Blocks are the outermost list of modules of which each runs once in a pass, in order, on what the one before
    returned. All lists are empty for a model without such, as one whose layers share their weights.

    Args:
        model: whose modules are meant.
        run: passes something through it.
    """
    watched = {name: module for name, module in model.named_modules() if name}
    passes = {name: _Passes() for name in watched}
    clock = iter(range(1 << 62))
    hooks = [hook for name, module in watched.items() for hook in passes[name].watch(module, clock)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    lists: list[list[str]] = []
    for name, module in watched.items():
        inside = [f"{name}.{index}" for index, _ in module.named_children()]
        is_nested = any(name.startswith(f"{outer[0].rpartition('.')[0]}.") for outer in lists)
        if isinstance(module, nn.ModuleList) and not is_nested and _is_chain([passes[one] for one in inside]):
            lists.append(inside)
    if not lists:
        return [], [], None
    blocks = max(lists, key=len)
    end = passes[blocks[-1]].ended[0]
    behind: list[str] = []
    for name, module in watched.items():
        is_later = min(passes[name].started, default=-1) > end and any(True for _ in module.parameters())
        if is_later and not any(name.startswith(f"{outer}.") for outer in behind):
            behind.append(name)
    norms = [n for n in behind if passes[n].outputs and all(p.ndim == 1 for p in watched[n].parameters())]
    return blocks, behind, norms[0] if norms else None


class _Passes:
    """When a module ran, and the tokens (B, T, D) that it took and returned."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.inputs: list[list[Tensor]] = []
        self.outputs: list[Tensor] = []

    def watch(self, module: nn.Module, clock: Iterator[int]) -> list[Any]:
        """Note each of its passes from now on; the returned hooks end this."""

        def start(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.started.append(next(clock))
            self.inputs.append([x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)])

        def end(_module: nn.Module, _args: Any, output: Any) -> None:
            self.ended.append(next(clock))
            first = output[0] if isinstance(output, (tuple, list)) else output
            if isinstance(first, Tensor) and first.ndim == 3:
                self.outputs.append(first)

        return [module.register_forward_pre_hook(start, with_kwargs=True), module.register_forward_hook(end)]


def _is_chain(passes: list[_Passes]) -> bool:
    """Return whether modules ran once each, every one on the tokens that the one before returned."""
    if not passes or any(len(one.started) != 1 or len(one.outputs) != 1 for one in passes):
        return False
    return all(any(x is one.outputs[0] for x in other.inputs[0]) for one, other in pairwise(passes))


def layer_stack(
    model: nn.Module, blocks: list[str], behind: list[str], norm: str | None, prefix: int = 0
) -> LayerStack | None:
    """Return the layers of a model by the names that `layers_of` returned; None where there are no blocks."""
    if not blocks:
        return None
    return LayerStack(
        [model.get_submodule(name) for name in blocks],
        [model.get_submodule(name) for name in behind],
        None if norm is None else model.get_submodule(norm),
        prefix,
    )
