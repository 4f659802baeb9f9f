"""Single parts from Python: built by name, registered without a distribution."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sensorium.contracts import Encoder, Modality
from sensorium.errors import PluginError, not_found
from sensorium.registration.discovery import add_to_session, load_extensions
from sensorium.registration.options import check_options, options_of
from sensorium.registration.registry import (
    CONTRACTS,
    SESSION,
    SINGULAR,
    WORDS,
    Conflict,
    Register,
    Registry,
    Spec,
    kind_named,
    serves,
    with_article,
)
from sensorium.weights.loading import load_weights

OF_MODALITY = ("encoders", "views")
"""Kinds whose parts are made for a modality, their first argument."""
UNFIT = {
    "recipes": "a recipe is handed to fit as it is, a mapping or the path of its file",
    "commands": "a command belongs to the program `sensorium`, a process of its own, for which a plugin registers it",
}
"""Kinds that are not registered in a process, and what is done instead."""


def build(kind: str, name: str, /, *first: Any, **options: Any) -> Any:
    """Return a new part by its name, as a recipe names it: `build("objective", "simclr", temperature=0.2)`.

    The weights of an encoder are drawn from torch's global generator, or those of its model, where its options name a
    folder that has some; other files are read by `sensorium.weights`. An objective has none before its `build`.

    Args:
        kind: of the part, such as "encoder" or "encoders".
        name: its registered name; `sensorium list` shows them.
        first: what the part takes before its options. An encoder or a view generator takes its modality, which
            `modality=` gives as well: an instance, or the name of a registered one, then built with its defaults.
        options: the part's options, as in a recipe.

    Raises:
        PluginError: for a name that is not registered, or a modality that is left out.
        RecipeError: for an option that the part does not have, or a value that it cannot have.
    """
    registry, kind = load_extensions().registry, kind_named(kind)
    if kind in UNFIT:
        raise PluginError(f"{with_article(kind).capitalize()} is not built: {UNFIT[kind]}.")
    family = None
    if kind in OF_MODALITY:
        modality, family = _modality(registry, kind, name, *first, **_popped(options))
        first = (modality,)
    cls = registry.find(kind, name, family).load()
    checked = check_options(cls, options, WORDS[kind], skip=len(first), name=name)
    made = cls.variant(checked) if kind in ("encoders", "objectives") else cls
    part = made(*first, **checked)
    if isinstance(part, Encoder) and part.own_weights is not None:
        load_weights(part, part.own_weights, path=f"The encoder '{name}'")
    return part


def _popped(options: dict[str, Any]) -> dict[str, Any]:
    return {"modality": options.pop("modality")} if "modality" in options else {}


def _modality(
    registry: Registry, kind: str, name: str, modality: Modality | str | None = None
) -> tuple[Modality, str | None]:
    """Return the modality that a part is built for, and its registered name; None for one that is not registered."""
    if isinstance(modality, str):
        return registry.find("modalities", modality).load()(), modality
    if isinstance(modality, Modality):
        return modality, registry.name_of(modality)
    given = "none is given" if modality is None else f"not {modality!r}"
    raise PluginError(
        f"The {SINGULAR[kind]} '{name}' is built for a modality, {given}: hand in modality=..., an instance or "
        f"the name of a registered one ({', '.join(registry.names('modalities'))})."
    )


def register(kind: str, name: str, cls: Callable[..., Any], *, modality: str | None = None, summary: str = "") -> None:
    """Register a part in this process, as a plugin registers it: recipes, `fit` and `build` then know its name.

    A name that is registered again stands for the new class, as when a cell of a notebook is run twice. Runs record the
    name and where the class is defined; whoever opens them in another process registers it there first.

    Args:
        kind: of the part, such as "encoder" or "encoders".
        name: its name in recipes: lowercase letters, digits, "-", "_" and ".".
        cls: the class, whose keyword arguments are its options; for an optimizer the function.
        modality: name of the modality that an encoder or a view generator belongs to; None serves every one.
        summary: one line for listings; default the first line of the docstring.

    Raises:
        PluginError: when the class does not fulfil the contract of its kind, or a plugin has registered the name.
    """
    kind = kind_named(kind)
    what = f"{with_article(kind).capitalize()} cannot be registered as '{name}'"
    if kind in UNFIT:
        raise PluginError(f"{what}: {UNFIT[kind]}.")
    known = load_extensions().registry.names("modalities")
    if modality is not None and modality not in known:
        raise PluginError(not_found(f"{what}: there is no modality '{modality}'", modality, known, _listed(known)))
    specs: list[Spec] = []
    try:
        Register(kind, SESSION, f"this {SESSION}", specs)(
            name, cls, summary=summary or _first_line(cls), modality=modality
        )
        _check(kind, cls)
        add_to_session(specs[0])
    except (ValueError, Conflict) as error:
        clause = str(error).removeprefix(f"{SINGULAR[kind]} {name!r}: ")
        raise PluginError(f"{what}: {clause}.") from error


def _listed(names: list[str]) -> str:
    return f"known: {', '.join(names)}"


def _first_line(cls: Callable[..., Any]) -> str:
    doc = getattr(cls, "__doc__", None)
    return inspect.cleandoc(doc).splitlines()[0] if doc else "without a summary"


def _check(kind: str, cls: Callable[..., Any]) -> None:
    """Check what `build` and recipes will rely on.

    Raises:
        ValueError: a clause about what the class lacks.
    """
    contract, shown = CONTRACTS.get(kind), getattr(cls, "__qualname__", repr(cls))
    if contract and not serves(cls, contract):
        raise ValueError(f"{shown} is not a subclass of sensorium.{contract}")
    if not callable(cls):
        raise ValueError(f"{shown} is no class and no function")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise ValueError(f"{shown} does not define {', '.join(missing)}")
    options_of(cls, skip=int(kind in OF_MODALITY))
