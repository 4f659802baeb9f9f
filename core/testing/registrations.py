"""Checks of every registration, whatever its kind."""

from __future__ import annotations

from importlib.resources import files

from sensorium.registration.options import options_of
from sensorium.registration.registry import CONTRACTS
from sensorium.testing.case import Case, expect


def can_be_loaded(case: Case) -> None:
    """Its target exists and is of the class that its kind requires."""
    if case.spec.kind == "recipes":
        package, _, file = case.spec.target.partition(":")
        expect((files(package) / file).is_file(), f"there is no file {file} in {package}")
    else:
        case.spec.load()


def documents_its_options(case: Case) -> None:
    """Every option has a type, and an entry in the `Args:` section of the class docstring."""
    options = options_of(case.spec.load(), skip=int(case.spec.kind in ("encoders", "views")))
    undocumented = [option.name for option in options if not option.help]
    expect(not undocumented, f"the docstring has no Args entry for {', '.join(undocumented)}")
    untyped = [option.name for option in options if option.type == "Any"]
    expect(not untyped, f"the constructor has no type annotation for {', '.join(untyped)}")


def belongs_to_a_registered_modality(case: Case) -> None:
    """Its modality is registered."""
    if case.spec.modality is not None:
        case.registry.find("modalities", case.spec.modality)


def checks_for(kind: str) -> tuple:
    """Return the checks of a registration of one kind."""
    checks: tuple = (can_be_loaded,)
    if kind in CONTRACTS:
        checks += (documents_its_options,)
    if kind in ("encoders", "views"):
        checks += (belongs_to_a_registered_modality,)
    return checks
