"""Views in a loop of one's own: every registered view generator as a transform of tensors, examples and batches.

```python
from sensorium import views

transform = views.image.simclr(size=32)
x1, x2 = transform(images)  # uint8, or float in [0, 1], (B, C, H, W), on any device: two tensors there
x1, x2 = transform(path)  # in a Dataset: one image, whatever the modality decodes
first, second = transform.views(images)  # with targets and masks, as `Learner` takes them
```

`views.MODALITY.NAME(...)` has the options of the view generator and those of its modality, by keyword; "-" in a name is
written "_", or as it is: `views.image["random-resized-crop"]`. The modalities and generators of plugins, and those
registered in this process, are found like the built-in ones; `dir(views.image)` lists them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Modality, ViewGenerator
from sensorium.errors import BadSample, DataError, PluginError, RecipeError, SensoriumError, not_found
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import Option, check_options, options_of
from sensorium.seeding import host_generator
from sensorium.types import Batch, View

__all__ = ["ModalityViews", "Transform", "of"]


class Transform:
    """A view generator as a function of a batch, of a tensor, or of one example.

    It draws from the torch generator that it is handed, or else from torch's global one, which `torch.manual_seed`
    seeds, and a `DataLoader` seeds in each of its workers, anew in each epoch: every call draws anew, and a seeded
    program draws the same again. Its input is never modified.

    Args:
        view_generator: makes the views.
        modality: decodes raw values and joins them to a batch.
    """

    def __init__(self, view_generator: ViewGenerator, modality: Modality) -> None:
        self.view_generator, self.modality = view_generator, modality

    @overload
    def __call__(self, x: Batch, generator: torch.Generator | None = None) -> list[View]: ...

    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> list[Tensor]: ...

    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self, x: Any, generator: torch.Generator | None = None
    ) -> list[Any]: ...

    def __call__(self, x: Any, generator: torch.Generator | None = None) -> Any:
        """Return the views of a batch, or of one example.

        Args:
            x: a tensor of B examples, such as uint8 or float in [0, 1], (B, C, H, W), of images, float (B, C, T) of
                signals, which carries no gradient; one raw value, whatever the modality decodes: a path, an array, a
                text, a graph; or a canonical batch.
            generator: what is drawn from, on any device; None draws from torch's global generator.

        Returns:
            One entry for each view. Of a tensor: a tensor of B rows on its device, such as float (B, C, H, W). Of a raw
            value: the tensor of the one example, or a batch of one where examples are no tensors (texts, graphs). Of a
            batch: views. Padding, masks and targets are in views alone: see `views`.

        Raises:
            DataError: when a raw value cannot be decoded, or the axes, channels, number type or range of a tensor are
                not the modality's.
            RecipeError: when the modality has an option that is for raw values alone.
        """
        batch = self._batch_of(x)
        views = self.views(x if batch is None else batch, generator)
        if isinstance(x, Batch):
            return views
        return [self._tensor(view.batch, is_one=batch is None) for view in views]

    def _tensor(self, batch: Batch, is_one: bool) -> Tensor | Batch:
        """Return the examples of a batch as one tensor, where the modality has them so."""
        if type(self.modality).batch_of is Modality.batch_of:
            return batch
        x = next(iter(batch.tensors().values()))
        return x[0] if is_one else x

    def _batch_of(self, x: Any) -> Batch | None:
        """Return the batch that a value is, or None for one raw value."""
        if isinstance(x, Batch):
            return x
        return self.modality.batch_of(x) if isinstance(x, Tensor) else None

    def views(
        self,
        x: Any,
        generator: torch.Generator | None = None,
        keys: Mapping[str, Tensor] | None = None,
        descriptors: Tensor | None = None,
    ) -> list[View]:
        """Return views as `Learner` takes them: batches with the targets, masks and positions that objectives use.

        Args:
            x: as `__call__` takes it; one raw value is a batch of one.
            generator: what is drawn from, on any device; None draws from torch's global generator.
            keys: what the rows' records are recognized by, int64 (B,) by name, for objectives that ask for it: "record"
                and "group" ids, "label:NAME" class ids.
            descriptors: of the records, float32 (B, P), for objectives that learn from them (see `descriptors`).

        Raises:
            DataError: when a raw value cannot be decoded, or a tensor is not examples of the modality.
        """
        batch = self._batch_of(x)
        if batch is None:
            generator = _generator_on(torch.device("cpu"), generator)
            batch = self.batch([x], generator)
        views = self.view_generator(batch, _generator_on(batch.device, generator))
        if descriptors is not None:
            views = [replace(view, info={**view.info, "descriptors": descriptors}) for view in views]
        return [replace(view, keys=keys) for view in views] if keys else views

    def descriptors(self, raws: Sequence[Any]) -> Tensor:
        """Return the descriptors of raw values that the modality has, float32 (B, P), nan where undefined.

        `transform.modality.descriptor_names` are their names.

        Args:
            raws: B raw values, whatever the modality decodes.

        Raises:
            DataError: when a value cannot be decoded, or the modality has no descriptors.
        """
        if not self.modality.has_descriptors():
            raise DataError(f"{type(self.modality).__name__} has no descriptors.")
        return torch.from_numpy(np.stack(self._of_each(raws, self.modality.descriptors)))

    def batch(self, raws: Sequence[Any], generator: torch.Generator | None = None) -> Batch:
        """Return raw values as a canonical batch on the CPU: the `collate_fn` of a `DataLoader` that yields batches.

        Args:
            raws: B raw values, whatever the modality decodes.
            generator: what a view generator draws from before values are joined, such as a crop out of a large image;
                None draws from torch's global generator.

        Raises:
            DataError: when a value cannot be decoded, or the modality must learn from data first.
        """
        rng = _generator_on(torch.device("cpu"), generator)
        return self.modality.collate(self._of_each(raws, lambda example: self.view_generator.stage(example, rng)))

    def _of_each(self, raws: Sequence[Any], function: Callable[[Any], Any]) -> list[Any]:
        """Return what a function makes of the example that each raw value is decoded to."""
        kind = type(self.modality).__name__
        if not self.modality.is_fitted:
            raise DataError(
                f"{kind} learns from data before it decodes: call fit(raws) of the transform, with raw values of the "
                "train part, or hand in modality=..., one that is fitted."
            )
        made = []
        for number, raw in enumerate(raws):
            try:
                made.append(function(self.modality.decode(raw)))
            except BadSample as error:
                which = f"Value {number}" if len(raws) > 1 else "The value"
                raise DataError(f"{which} cannot be decoded by {kind}: {error}{_advice(raw)}.") from error
        return made

    def fit(self, raws: Sequence[Any]) -> Transform:
        """Let the modality learn what decoding needs, such as a scale or a vocabulary; returns the transform itself.

        Args:
            raws: raw values of the train part.
        """
        self.modality.fit(raws)
        return self

    @staticmethod
    def collate(samples: Sequence[Sequence[View]]) -> list[View]:
        """Join the views of single examples: the `collate_fn` of a `DataLoader` that yields views of batches.

        Args:
            samples: for each example its `views`.

        Raises:
            SensoriumError: when what belongs to the views differs in shape from example to example.
        """
        return [_joined(list(of_view)) for of_view in zip(*samples, strict=True)]

    def __repr__(self) -> str:
        return f"Transform({type(self.view_generator).__name__}, {type(self.modality).__name__})"


class ModalityViews:
    """The view generators of one modality, by name: `views.image.simclr(size=32)`.

    Args:
        modality: its registered name.
    """

    def __init__(self, modality: str) -> None:
        self._modality = modality

    def __getattr__(self, name: str) -> Callable[..., Transform]:
        found = {} if name.startswith("_") else {_attribute(known): known for known in self._names()}
        if name not in found:
            raise AttributeError(self._unknown(name, found) if found else name)
        return self[found[name]]

    def __getitem__(self, name: str) -> Callable[..., Transform]:
        if name not in (known := self._names()):
            raise PluginError(self._unknown(name, known))
        return _maker(self._modality, name)

    def __dir__(self) -> list[str]:
        return sorted(map(_attribute, self._names()))

    def __repr__(self) -> str:
        return f"views of {self._modality}: {', '.join(self._names())}"

    def _names(self) -> list[str]:
        return load_extensions().registry.names("views", self._modality)

    def _unknown(self, name: str, known: Sequence[str] | Mapping[str, str]) -> str:
        return not_found(
            f"The modality '{self._modality}' has no view generator '{name}'", name, known, f"it has {', '.join(known)}"
        )


def of(modality: str) -> ModalityViews:
    """Return the view generators of a modality, such as one whose name is no Python identifier.

    Args:
        modality: its registered name.

    Raises:
        PluginError: when there is no such modality.
    """
    load_extensions().registry.find("modalities", modality)
    return ModalityViews(modality)


def __getattr__(name: str) -> ModalityViews:
    found = {} if name.startswith("_") else {_attribute(known): known for known in _modalities()}
    if name not in found:
        problem = f"module 'sensorium.views' has no modality '{name}'"
        raise AttributeError(not_found(problem, name, found, f"there are: {', '.join(found)}") if found else problem)
    return of(found[name])


def __dir__() -> list[str]:
    return sorted([*__all__, *map(_attribute, _modalities())])


def _modalities() -> list[str]:
    return load_extensions().registry.names("modalities")


def _attribute(name: str) -> str:
    """Return a registered name as a Python identifier."""
    return name.replace("-", "_").replace(".", "_")


def _maker(family: str, name: str) -> Callable[..., Transform]:
    """Return the function that makes transforms of one view generator."""
    registry = load_extensions().registry
    kind: type[Modality] = registry.find("modalities", family).load()
    cls: type[ViewGenerator] = registry.find("views", name, family).load()
    of_views, of_modality = options_of(cls, skip=1), options_of(kind)
    own = {option.name for option in of_views}
    of_modality = [option for option in of_modality if option.name not in own]
    known = [option.name for option in (*of_views, *of_modality)]
    listed = ", ".join(known)

    def make(*, modality: Modality | Mapping[str, Any] | None = None, **options: Any) -> Transform:
        path = f"views.{family}.{_attribute(name)}"
        for option in options:
            if option not in known:
                raise RecipeError(not_found(f"{path} has no option '{option}'", option, known, f"it has {listed}"))
        shared = {o.name: options.pop(o.name) for o in of_modality if o.name in options}
        if isinstance(modality, Modality):
            if shared:
                raise RecipeError(f"{path}: {', '.join(shared)} belongs to the modality, which is given already.")
            made = modality
        else:
            made = kind(**check_options(kind, {**(modality or {}), **shared}, path, name=family))
        return Transform(cls(made, **check_options(cls, options, path, skip=1, name=name)), made)

    make.__name__, make.__qualname__, make.__module__ = _attribute(name), f"{family}.{_attribute(name)}", __name__
    make.__doc__ = _documentation(cls, family, of_views, of_modality)
    make.__signature__ = _signature([*of_views, *of_modality])  # type: ignore[attr-defined]
    return make


def _documentation(cls: type, family: str, of_views: Sequence[Option], of_modality: Sequence[Option]) -> str:
    """Return the text of a view generator, with its options and those of its modality."""
    text = (inspect.getdoc(cls) or "").partition("\nArgs:\n")[0].rstrip()
    lines = [f"    {o.name}: {o.help}" for o in of_views]
    lines += [f"    {o.name}: of the modality '{family}': {o.help}" for o in of_modality]
    lines.append(f"    modality: an instance of the modality '{family}', or a mapping of its options.")
    return "\n".join([text, "", "Args:", *lines])


def _signature(options: Sequence[Option]) -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if option.required else option.default,
            annotation=option.annotation,
        )
        for option in options
    ]
    modality = inspect.Parameter("modality", inspect.Parameter.KEYWORD_ONLY, default=None)
    return inspect.Signature([*parameters, modality], return_annotation=Transform)


def _advice(raw: Any) -> str:
    """Return what to do with a value that looks like a batch of arrays, to end a sentence."""
    if isinstance(raw, np.ndarray):
        return "; if it is a batch, make it a tensor: torch.from_numpy(x)" if raw.ndim > 1 else ""
    if isinstance(raw, Sequence) and len(raw) and isinstance(raw[0], np.ndarray | Tensor):
        made = "torch.stack(x)" if isinstance(raw[0], Tensor) else "torch.from_numpy(numpy.stack(x))"
        return f"; if it is a batch, make it a tensor: {made}, or hand in transform.batch(x)"
    return ""


def _generator_on(device: torch.device, generator: torch.Generator | None) -> torch.Generator:
    """Return a generator on a device: the one that is given, or one seeded from it, or from torch's global one."""
    if generator is not None:
        given = generator.device
        if given.type == device.type and device.index in (None, given.index):
            return generator
    seed = int(torch.randint(2**63 - 1, (), generator=host_generator(generator)))
    return torch.Generator(device).manual_seed(seed)


def _joined(views: Sequence[View]) -> View:
    """Join one view of several examples."""
    first = views[0]
    try:
        return replace(
            first,
            batch=type(first.batch).cat([view.batch for view in views]),
            target=None if first.target is None else torch.cat([view.target for view in views]),  # type: ignore[misc]
            info={name: torch.cat([view.info[name] for view in views]) for name in first.info},
            keys={name: torch.cat([view.keys[name] for view in views]) for name in first.keys},
        )
    except RuntimeError as error:  # of torch.cat
        raise SensoriumError(
            "The views of single examples differ in shape, and cannot be joined: join the examples first, with "
            f"collate_fn=transform.batch, and make the views of whole batches ({error})."
        ) from error
