"""CUDA's autocast rules, for the emulated device: read from the header of the installed torch, never copied."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decompositions
from torch.utils._pytree import tree_map

HEADER = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
MACROS = ("LOWER_PRECISION_FP", "FP32", "FP32_SET_OPT_DTYPE", "PROMOTE")
"""The header's lists that CUDA registers, each of the operators that it treats alike."""
APPEND_DTYPE = ("norm.Scalar", "norm.ScalarOpt_dim")
"""Operators that CUDA replaces by their overload with a dtype, fp32."""
RECURRENT = {"gru.input": decompositions.gru_impl, "lstm.input": decompositions.lstm_impl}
"""Networks that cuDNN computes whole, in the dtype of autocast, by what they are composed of."""
BANNED = "binary_cross_entropy"
_KEY = "AutocastPrivateUse1"
_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)  # type: ignore[attr-defined]


@cache
def operators(macro: str) -> list[str]:
    """Return the names of the operators in a list of the header, with their overloads, such as "sum.dim_IntList"."""
    text = re.sub(r"\\\n", " ", HEADER.read_text(encoding="utf-8"))
    (body,) = re.findall(rf"#define AT_FORALL_{macro}\(_\)(.*)", text)
    return [
        f"{name}.{overload}" if overload else name for name, overload in re.findall(r"_\((\w+)(?:, (\w+))?\)", body)
    ]


def register_kernels(device_type: str) -> list[torch.library.Library]:
    """Register the rules for the autocast of the device made outside of torch; they last as long as what is returned.

    Args:
        device_type: the name of that device.
    """
    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, _KEY)
    library = torch.library.Library("aten", "IMPL")
    for macro in MACROS:
        for name in operators(macro):
            if (op := _operator(name)) is not None:
                library.impl(name, partial(_POLICIES[macro], op, device_type), _KEY)
    for name in APPEND_DTYPE:
        library.impl(name, partial(_append_dtype, _operator(name)), _KEY)
    for name, composition in RECURRENT.items():
        library.impl(name, partial(_lower_precision, composition, device_type), _KEY)
        library.impl(name, composition, "AutogradPrivateUse1")
    library.impl(BANNED, _refuse, _KEY)
    return [others, library]


def _operator(name: str) -> Any:
    """Return an operator, or None for one that the header of this torch still names but that is gone."""
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)


def _lower_precision(op: Any, device_type: str, *args: Any, **kwargs: Any) -> Any:
    return _call_cast(op, device_type, torch.get_autocast_dtype(device_type), args, kwargs)


def _fp32(op: Any, device_type: str, *args: Any, **kwargs: Any) -> Any:
    return _call_cast(op, device_type, torch.float32, args, kwargs)


def _fp32_set_dtype(op: Any, device_type: str, *args: Any, **kwargs: Any) -> Any:
    """Compute in fp32 by the operator's own dtype, unless the caller gave one."""
    place = [argument.name for argument in op._schema.arguments].index("dtype")
    given = args[place] if len(args) > place else kwargs.get("dtype")
    if given is None and _is_eligible(args[0], device_type):
        args, kwargs = args[:place], kwargs | {"dtype": torch.float32}
    with torch._C._ExcludeDispatchKeyGuard(_KEYS):
        return op(*args, **kwargs)


def _promote(op: Any, device_type: str, *args: Any, **kwargs: Any) -> Any:
    """Compute in the widest dtype among the arguments, at least the dtype of autocast."""
    found: set[torch.dtype] = {torch.get_autocast_dtype(device_type)}
    tree_map(lambda x: found.add(x.dtype) if _is_eligible(x, device_type) else None, (args, kwargs))
    widest = torch.float32 if torch.float32 in found or len(found) > 1 else found.pop()
    return _call_cast(op, device_type, widest, args, kwargs)


def _append_dtype(op: Any, x: Tensor, *args: Any) -> Any:
    with torch._C._ExcludeDispatchKeyGuard(_KEYS):
        return op(x.float() if x.dtype != torch.float64 else x, *args)


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast: "
        "use binary_cross_entropy_with_logits."
    )


def _call_cast(op: Any, device_type: str, dtype: torch.dtype, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def cast(x: Any) -> Any:
        return x.to(dtype) if _is_eligible(x, device_type) and x.dtype != dtype else x

    with torch._C._ExcludeDispatchKeyGuard(_KEYS):
        return op(*tree_map(cast, args), **tree_map(cast, kwargs))


def _is_eligible(x: Any, device_type: str) -> bool:
    """Return whether autocast would cast a value: a floating-point tensor of the device, unless it is fp64."""
    return isinstance(x, Tensor) and x.device.type == device_type and x.is_floating_point() and x.dtype != torch.float64


_POLICIES = {
    "LOWER_PRECISION_FP": _lower_precision,
    "FP32": _fp32,
    "FP32_SET_OPT_DTYPE": _fp32_set_dtype,
    "PROMOTE": _promote,
}
