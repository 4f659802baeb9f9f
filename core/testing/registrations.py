"""Checks of every registration, whatever its kind."""

from __future__ import annotations

from importlib.resources import files

from sensorium.registration.options import options_of
from sensorium.registration.registry import CONTRACTS, FILLED
from sensorium.testing.checked_part import CheckedPart, expect


def can_be_loaded(checked: CheckedPart) -> None:
    """Its target exists and is of the class that its kind requires."""
    if checked.spec.kind == "recipes":
        package, _, file = checked.spec.origin.partition(":")
        expect((files(package) / file).is_file(), f"there is no file {file} in {package}")
    else:
        checked.spec.load()


def documents_its_options(checked: CheckedPart) -> None:
    """Every option has a type, and an entry in the `Args:` section of the class docstring."""
    options = options_of(checked.spec.load(), skip=FILLED.get(checked.spec.kind, 0))
    undocumented = [option.name for option in options if not option.help]
    expect(not undocumented, f"the docstring has no Args entry for {', '.join(undocumented)}")
    untyped = [option.name for option in options if option.type == "Any"]
    expect(not untyped, f"the constructor has no type annotation for {', '.join(untyped)}")


def belongs_to_a_registered_modality(checked: CheckedPart) -> None:
    """Its modality is registered."""
    if checked.spec.modality is not None:
        checked.registry.find("modalities", checked.spec.modality)


def checks_for(kind: str) -> tuple:
    """Return the checks of a registration of one kind."""
    checks: tuple = (can_be_loaded,)
    if kind in CONTRACTS:
        checks += (documents_its_options,)
    if kind in ("encoders", "views"):
        checks += (belongs_to_a_registered_modality,)
    return checks
