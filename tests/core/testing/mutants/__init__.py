"""Parts with one fault each that ruins what is learned or measured, and the check of the kit that must catch it.

A file for each kind of part. `@caught_by("check name")` marks a mutant; `tests/core/testing/test_mutants.py` runs that
check on it, and on the sound part that it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path


def caught_by(check: str) -> Callable[[type], type]:
    """Mark a mutant with the name of the check that must catch it."""

    def mark(cls: type) -> type:
        cls.caught_by = check
        return cls

    return mark


def mutants() -> Iterator[tuple[str, type]]:
    """Iterate over kind and class of every mutant; a module is named after its kind."""
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        module = import_module(f"{__name__}.{file.stem}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and "caught_by" in vars(value):
                yield file.stem, value


def sound() -> Iterator[tuple[str, type]]:
    """Iterate over kind and class of every sound part that mutants are made of."""
    for kind, cls in mutants():
        for base in cls.__mro__[1:]:
            if base.__module__ == cls.__module__ and "caught_by" not in vars(base):
                yield kind, base
                break
