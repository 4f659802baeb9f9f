"""Low-rank adapters (LoRA, Hu et al. 2022): W' = W + alpha / rank * B A, with W frozen and B = 0 at first.

An adapted map computes W' whenever its weight is read, so that nothing bypasses the adapter, however a module uses its
weight: a call of the map, F.linear on the weight of another module, `nn.MultiheadAttention`, the fast path of
`nn.TransformerEncoderLayer`. W keeps its place and its name among the parameters, and so in a state dict.

Letters: O outputs and I inputs of a linear map, R the rank.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from sensorium.errors import RecipeError, not_found

Targets = Literal["attention", "all"] | Sequence[str]
M = TypeVar("M", bound=nn.Module)
PREFIX = "lora_"
"""Stands before the name of a weight in that of its factors: `qkv.weight` has `qkv.lora_weight.A` and `.B`."""
_FACTOR = re.compile(rf"(?P<owner>(?:.*\.)?){PREFIX}(?P<weight>[^.]+)\.(?P<factor>A|B|scale)")
_ATTENTION = re.compile("attn|attention", re.IGNORECASE)
_OF_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights that `nn.MultiheadAttention` has beside those of its linear map `out_proj`."""


class Factors(nn.Module):
    """The factors of the low-rank update of one weight, float32.

    Args:
        weight_OI: the weight.
        rank: R.
        alpha: alpha / R is the factor of the update.
        rng: draws A, uniform within +-1/sqrt(I), as `nn.Linear` draws its weight; B is 0.
        transposed: whether the weight is (I, O): then B is the factor of the inputs, which is drawn, and A is 0.
    """

    def __init__(
        self, weight_OI: Tensor, rank: int, alpha: float, rng: torch.Generator, transposed: bool = False
    ) -> None:
        super().__init__()
        outputs, inputs = weight_OI.shape
        device, bound = weight_OI.device, (outputs if transposed else inputs) ** -0.5
        a_RI, b_OR = torch.zeros(rank, inputs), torch.zeros(outputs, rank)
        (b_OR if transposed else a_RI).uniform_(-bound, bound, generator=rng)
        self.A, self.B = nn.Parameter(a_RI.to(device)), nn.Parameter(b_OR.to(device))
        self.scale: Tensor = nn.Buffer(torch.tensor(alpha / rank, device=device))

    def forward(self, weight_OI: Tensor) -> Tensor:
        """Return the adapted weight (O, I), in the weight's dtype; under autocast too, the sum is that of float32."""
        with torch.autocast(weight_OI.device.type, enabled=False):
            return _merged(weight_OI, self.A, self.B, self.scale)


def _merged(weight_OI: Tensor, a_RI: Tensor, b_OR: Tensor, scale: Tensor) -> Tensor:
    """Return W + scale B A in the dtype of W, summed in that of the factors or a wider one."""
    wide = torch.promote_types(weight_OI.dtype, a_RI.dtype)
    merged_OI = torch.addmm(weight_OI.to(wide), (scale * b_OR).to(wide), a_RI.to(wide))
    return merged_OI.to(weight_OI.dtype)


def adapt(
    module: nn.Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Targets = "all",
    bias: bool = False,
    norms: bool = False,
    rng: torch.Generator,
) -> list[str]:
    """Add adapters to linear maps of a module, in place, and freeze everything else of it.

    A map that is frozen already stays as it is.

    Args:
        module: an encoder.
        rank: rank of the updates, at least 1.
        alpha: alpha / rank is their factor.
        targets: "all" linear maps, those of "attention", or names of maps, each a pattern of `fnmatch` that a whole
            name or the end of one after a dot matches: "qkv", "blocks.[6-9].*". The input projection of
            `nn.MultiheadAttention` has the name `in_proj`.
        bias: train biases, too.
        norms: train weights and biases of norms, too.
        rng: a generator on the CPU, from which the factors are drawn.

    Returns:
        The names of the maps that have an adapter now.

    Raises:
        RecipeError: when the module has no such map.
    """
    chosen = _chosen(linear_maps(module), targets)
    kept = {id(p) for p in _others(module, bias, norms) if p.requires_grad}
    for parameter in module.parameters():
        parameter.requires_grad_(id(parameter) in kept)
    names: dict[nn.Module, list[str]] = {}
    for owner, name in chosen.values():
        names.setdefault(owner, []).append(name)
    for owner, its in names.items():
        for name in its:
            weight: Any = owner._parameters[name]
            owner.add_module(PREFIX + name, Factors(weight, rank, alpha, rng, is_transposed(owner)))
        plain: Any = type(owner)
        owner.__class__ = _adapted_class(plain, tuple(its))
    return list(chosen)


def linear_maps(module: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Return the linear maps of a module that can be adapted: name -> the module with the weight, and its name there.

    They are trainable matrices of `nn.Linear`, of the `Conv1D` of transformers (GPT-2) and of `nn.MultiheadAttention`,
    which no other module shares.
    """
    uses = Counter(id(p) for owner in module.modules() for p in owner._parameters.values())
    maps: dict[str, tuple[nn.Module, str]] = {}
    for path, owner in module.named_modules():
        attention = isinstance(owner, nn.MultiheadAttention)
        linear = isinstance(owner, nn.Linear) or is_transposed(owner)
        for name in _OF_ATTENTION if attention else ("weight",) if linear else ():
            weight = owner._parameters.get(name)
            if weight is not None and weight.requires_grad and uses[id(weight)] == 1:
                maps[f"{path}.{name.removesuffix('_weight')}" if attention else path] = owner, name
    return maps


def is_transposed(module: nn.Module) -> bool:
    """Return whether a module is a linear map whose weight is (I, O): the `Conv1D` of transformers."""
    weight = module._parameters.get("weight")
    return any(cls.__name__ == "Conv1D" for cls in type(module).__mro__) and weight is not None and weight.ndim == 2


def _chosen(maps: Mapping[str, tuple[nn.Module, str]], targets: Targets) -> dict[str, tuple[nn.Module, str]]:
    """Return the maps that are to be adapted."""
    patterns = [targets] if isinstance(targets, str) else list(targets)
    there = "its linear maps: " + (", ".join(maps) or "none")
    found: set[str] = set()
    for pattern in patterns:
        matching = {name for name, (owner, _) in maps.items() if _matches(name, owner, pattern)}
        if not matching:
            what = {"all": "linear maps", "attention": "linear maps of attention"}.get(
                pattern, f"linear map '{pattern}'"
            )
            raise RecipeError(not_found(f"lora.targets: the encoder has no trainable {what}", pattern, maps, there))
        found |= matching
    return {name: maps[name] for name in maps if name in found}


def _matches(name: str, owner: nn.Module, pattern: str) -> bool:
    if pattern == "all":
        return True
    if pattern == "attention":
        return isinstance(owner, nn.MultiheadAttention) or _ATTENTION.search(name) is not None
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def _others(module: nn.Module, bias: bool, norms: bool) -> Iterator[nn.Parameter]:
    """Iterate over biases and parameters of norms that are trained beside adapters."""
    for owner in module.modules():
        is_norm = re.search("norm", type(owner).__name__, re.IGNORECASE) is not None
        for name, parameter in owner._parameters.items():
            if parameter is not None and parameter.ndim <= 1 and (norms if is_norm else bias and "bias" in name):
                yield parameter


@cache
def _adapted_class(plain: Any, names: tuple[str, ...]) -> Any:
    """Return a class whose instances read these of their weights through factors; `plain` is the class without."""
    members: dict[str, Any] = {name: property(_reader(name)) for name in names}
    return type(f"Adapted{plain.__name__}", (plain,), {**members, "plain": plain, "adapted": names})


def _reader(name: str) -> Any:
    def read(module: nn.Module) -> Tensor:
        weight = module._parameters[name]
        if isinstance(weight, DTensor):  # outside of a pass, where FSDP looks its shards up by name
            return weight
        return _adapted_weight(module, name)

    return read


def _adapted_weight(module: nn.Module, name: str) -> Tensor:
    # by dictionaries: an AttributeError in a property would give the weight without its factors
    return module._modules[PREFIX + name](module._parameters[name])  # type: ignore[misc]


def _adapted_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
    """Iterate over modules that have adapters, by name, with the names of the weights that do."""
    for path, owner in module.named_modules():
        if names := getattr(type(owner), "adapted", ()):
            yield path, owner, names


def is_adapted(module: nn.Module) -> bool:
    """Return whether a module has adapters."""
    return any(isinstance(part, Factors) for part in module.modules())


def is_factor(name: str) -> bool:
    """Return whether a name of a state dict is that of a factor."""
    return _FACTOR.fullmatch(name) is not None


@torch.no_grad()
def merge(module: M) -> M:
    """Put the adapted weights in the place of the weights, and take the adapters away; returns the module itself."""
    for _, owner, names in list(_adapted_modules(module)):
        for name in names:
            owner._parameters[name].copy_(_adapted_weight(owner, name))  # type: ignore[union-attr]
            del owner._modules[PREFIX + name]
        owner.__class__ = type(owner).plain  # type: ignore[attr-defined]
    return module


def merged_copy(module: M) -> M:
    """Return a copy of a module in which adapters are merged."""
    return merge(copy.deepcopy(module))


@torch.no_grad()
def merged_parameters(module: nn.Module) -> list[Tensor]:
    """Return the parameters of a module, with adapted weights in their places, in the order of its merged copy."""
    found: dict[int, Tensor] = {}
    for owner in module.modules():
        adapted = getattr(type(owner), "adapted", ())
        for name, parameter in () if isinstance(owner, Factors) else owner._parameters.items():
            if parameter is not None and id(parameter) not in found:
                found[id(parameter)] = _adapted_weight(owner, name) if name in adapted else parameter
    return list(found.values())


def factors_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the factors among the weights of a state dict."""
    return {name: tensor for name, tensor in state.items() if is_factor(name)}


def merged_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a state dict with its factors merged; one without factors as it is."""
    merged = {name: tensor for name, tensor in state.items() if not is_factor(name)}
    for name in state:
        if (match := _FACTOR.fullmatch(name)) and match["factor"] == "A":
            weight, stem = match["owner"] + match["weight"], name[:-1]
            merged[weight] = _merged(state[weight], state[name], state[f"{stem}B"], state[f"{stem}scale"])
    return merged
