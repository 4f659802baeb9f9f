"""What makes the parts of a recipe: their classes, looked up, with checked options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sensorium.contracts import Modality
from sensorium.errors import PluginError
from sensorium.models.given import stand_in
from sensorium.recipe.parts import OF_TERM, Part, Term
from sensorium.registration.options import check_options
from sensorium.registration.registry import FILLED, Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Maker(Generic[T]):
    """Makes a part of a recipe: its class, with checked options.

    Args:
        cls: the class.
        options: keyword arguments of its constructor.
        modality: the modality that an encoder or a view generator belongs to, its first argument; None for others.
        make: called in place of the class, for a part that was handed in.
    """

    cls: type[T]
    options: Mapping[str, Any]
    modality: Modality | None = None
    make: Callable[..., T] | None = None

    def __call__(self) -> T:
        """Return a new part."""
        return (self.make or self.cls)(*(() if self.modality is None else (self.modality,)), **self.options)

    def with_options(self, **options: Any) -> Maker[T]:
        """Return what makes the same part with some options replaced."""
        return replace(self, options={**self.options, **options})


def family_of(registry: Registry, part: Part, modality: Modality) -> str | None:
    """Return the registered name of a modality, whose encoders and view generators it takes; None for no such."""
    return part.name if part.handed_in is None else registry.name_of(modality)


def maker(
    registry: Registry, kind: str, part: Part, path: str, family: str | None = None, modality: Modality | None = None
) -> Maker[Any]:
    """Return what makes a part, its options checked.

    Args:
        registry: where its class is looked up.
        kind: of the part, such as "encoders".
        part: its name and options.
        path: where it stands in the recipe, for errors.
        family: the registered modality that an encoder or a view generator must serve.
        modality: that modality itself.
    """
    if part.handed_in is not None:
        given = registry.given.get(path) or stand_in(kind, path, part.handed_in)
        return Maker(given.cls, part.options, modality, given.make)
    cls = registry.find(kind, part.name, family).load()
    beside = OF_TERM if isinstance(part, Term) else ()
    options = check_options(cls, part.options, path, skip=FILLED.get(kind, 0), name=part.name, beside=beside)
    return Maker(cls.variant(options) if kind in ("encoders", "objectives") else cls, options, modality)


def loadable(registry: Registry, kind: str, modality: str | None, fits: Callable[[Any], bool]) -> str:
    """Return the names of registered classes that fit, those that cannot be loaded left out."""
    names = []
    for spec in registry.specs(kind):
        if modality is not None and spec.modality not in (None, modality):
            continue
        try:
            if fits(spec.load()):
                names.append(spec.name)
        except PluginError:
            continue
    return ", ".join(names) or "none"
