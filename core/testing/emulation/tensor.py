"""Tensors of the emulated device: their values are on the CPU, what may be done with them is as on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from sensorium.testing.emulation.device import DEVICE_TYPE, ENTERED, emulated_device
from sensorium.testing.emulation.synchronizations import INDEXED, Synchronization, lines, reads_the_device

aten = torch.ops.aten
COPIES = (aten.copy_.default, aten.copy.default)
ON_CPU = {aten._pack_padded_sequence.default: (1,)}
"""Arguments that CUDA's kernels, too, want on the CPU, by position."""


class EmulatedTensor(Tensor):
    """A tensor of the emulated device, around the CPU tensor that has its values."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: Tensor) -> EmulatedTensor:
        """Return a tensor of the device with the values of one on the CPU, which it shares."""
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=emulated_device(),
        )
        made.host = values
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"EmulatedTensor({self.host})"

    def __setitem__(self, key: Any, value: Any) -> None:
        # For CUDA, torch leaves a number on the CPU and fills with it; for other devices it makes a tensor there.
        super().__setitem__(key, value if isinstance(value, Tensor) else torch.tensor(value, dtype=self.dtype))

    def tolist(self) -> Any:
        """Return the values as nested lists: a copy to the host."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Raise the error of CUDA, unless forced to copy to the host."""
        if not force:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. "
                "Use Tensor.cpu() to copy the tensor to host memory first."
            )
        return self.detach().cpu().numpy()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


class EmulatedGenerator(torch.Generator):
    """A generator of random numbers of the emulated device; it draws what one of the CPU draws."""

    emulates: bool

    def __new__(cls, device: torch.device | str = "cpu") -> EmulatedGenerator:
        """Return a generator for a device, the emulated one or the CPU."""
        made: Any = super().__new__(cls, "cpu")  # type: ignore[call-arg]
        made.emulates = torch.device(device).type == DEVICE_TYPE
        if made.emulates:
            _GENERATORS[made._cdata] = made
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The device that it draws for."""
        return emulated_device() if self.emulates else torch.device("cpu")


_GENERATORS: WeakValueDictionary[int, EmulatedGenerator] = WeakValueDictionary()
"""Generators of the emulated device by the address of torch's own object: torch passes on no subclass."""


class Emulation(TorchDispatchMode):
    """Runs operations on the emulated device, and notes what makes the host wait for it.

    Within it, `torch.Generator` may be made for the device, and memory may be page-locked.
    """

    def __init__(self) -> None:
        super().__init__()
        emulated_device()
        self.synchronizations: list[Synchronization] = []

    def __enter__(self) -> Emulation:
        ENTERED.append(self)
        self._generator, torch.Generator = torch.Generator, EmulatedGenerator  # type: ignore
        self._lift_first = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor` then makes its copy to the device in the open
        self._threads = torch.autograd.set_multithreading_enabled(False)
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        ENTERED.remove(self)
        self._threads.__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lift_first)
        torch.Generator = self._generator  # type: ignore

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        why = _waits(func, args, kwargs or {})
        if why is not None:
            self.synchronizations.append(Synchronization(why, lines()))
        return _compute(func, args, kwargs or {})


def is_emulated(x: Any) -> bool:
    """Return whether a value is a tensor of the emulated device."""
    return isinstance(x, EmulatedTensor)


def _leaves(value: Any) -> Iterator[Any]:
    """Iterate over what stands in (nested) arguments of an operator."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return (nested) arguments of an operator with every leaf changed."""
    if isinstance(value, tuple | list):
        return type(value)([_changed(part, change) for part in value])
    return change(value)


def _waits(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return why an operation makes the host wait for the device, or None."""
    if func is aten._to_copy.default:
        target = kwargs.get("device")
        to_device = is_emulated(args[0]) if target is None else target.type == DEVICE_TYPE
        return _copy(args[0], to_device, bool(kwargs.get("non_blocking")))
    if func in COPIES:
        return _copy(args[1], is_emulated(args[0]), bool(args[2]) if len(args) > 2 else False)
    if any(map(is_emulated, _leaves(args))):
        return reads_the_device(func, args, kwargs, is_emulated)
    return None


def _copy(source: Tensor, to_device: bool, non_blocking: bool) -> str | None:
    if is_emulated(source) == to_device:
        return None
    if not to_device:
        return None if non_blocking else "a copy to the host"
    if not non_blocking:
        return "a blocking copy to the device"
    return None if _is_pinned(source) else "a copy to the device from memory that is not page-locked"


def _is_pinned(x: Tensor) -> bool:
    return getattr(x.untyped_storage(), "is_pinned_by_emulation", False)


def _pinned(x: Tensor) -> Tensor:
    copied = x.clone()
    copied.untyped_storage().is_pinned_by_emulation = True  # type: ignore[attr-defined]
    return copied


def _compute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the CPU; raise where CUDA would."""
    if func is aten.is_pinned.default:
        return _is_pinned(args[0])
    if func is aten._pin_memory.default:
        return _pinned(args[0])
    if func is aten._fused_sdp_choice.default:
        return torch.nn.attention.SDPBackend.MATH.value
    wrappers = {id(x.host): x for x in _leaves((args, tuple(kwargs.values()))) if is_emulated(x)}
    device = kwargs.get("device")
    to_device = bool(wrappers) if device is None else torch.device(device).type == DEVICE_TYPE
    if wrappers:
        _require_one_device(func, args, kwargs)
    if kwargs.get("generator") is not None:
        _require_generator_of(bool(wrappers) or to_device, kwargs["generator"])

    def unwrap(x: Any) -> Any:
        if is_emulated(x):
            return x.host
        return torch.device("cpu") if isinstance(x, torch.device) and x.type == DEVICE_TYPE else x

    def wrap(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return wrappers[id(x)] if id(x) in wrappers else EmulatedTensor(x)

    kwargs = {name: _changed(value, unwrap) for name, value in kwargs.items()}
    pin = bool(kwargs.pop("pin_memory", None))
    made = func(*_changed(args, unwrap), **kwargs)
    if torch.Tag.inplace_view in func.tags and is_emulated(args[0]):
        with no_dispatch():  # the shape of the tensor around the values changes as well
            func(*args)
    if to_device:
        return _changed(made, wrap)
    return _pinned(made) if pin else made


def _require_one_device(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise the error of CUDA for tensors of several devices: only a CPU scalar may stand beside those of the device.

    Raises:
        RuntimeError: for a tensor of the CPU with a dimension, or one that is to be written to.
    """
    if func in COPIES:
        return
    allowed = ON_CPU.get(func, ())
    mixes_indices = func in INDEXED and is_emulated(args[0])
    for place, argument in enumerate([*args, *kwargs.values()]):
        if place in allowed or (mixes_indices and place == 1):
            continue
        written = place == 0 and func._schema.is_mutable
        for x in _leaves(argument):
            if isinstance(x, Tensor) and not is_emulated(x) and (x.ndim > 0 or written or isinstance(argument, list)):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, "
                    f"{emulated_device()} and {x.device}! (in {func})"
                )


def _require_generator_of(on_device: bool, generator: torch.Generator) -> None:
    emulates = generator._cdata in _GENERATORS  # type: ignore[attr-defined]
    if emulates != on_device:
        kinds = (DEVICE_TYPE, "cpu") if on_device else ("cpu", DEVICE_TYPE)
        raise RuntimeError(f"Expected a '{kinds[0]}' device type for generator but found '{kinds[1]}'.")
