"""The kit against mutants: each is caught by the check that is about its fault, and the sound part passes all."""

import sys
from unittest import SkipTest

import pytest

from sensorium.registration.registry import Registry, Spec
from sensorium.testing import Failure, yield_checks
from tests.core.testing import parts
from tests.core.testing.mutants import mutants, sound

MUTANTS, SOUND = list(mutants()), list(dict.fromkeys(sound()))


def checks_of(kind, cls):
    """Return the checks of one class, by name."""
    home = sys.modules[cls.__module__]
    tried_on = getattr(home, "MODALITY", parts.Good)
    modality = Spec("modalities", "rows", f"{tried_on.__module__}:{tried_on.__name__}", "made", "p", "d")
    belongs = "rows" if kind in ("encoders", "views") else None
    tested = Spec(kind, "tested", f"{cls.__module__}:{cls.__name__}", "made", "p", "d", belongs)
    registry = Registry()
    registry.add([tested] if kind == "modalities" else [modality, tested])
    samples = {"tested" if kind == "modalities" else "rows": getattr(home, "SAMPLES", parts.SAMPLES["rows"])}
    return {check.name.partition("tested ")[2]: check for check in yield_checks(tested, registry, samples)}


@pytest.mark.parametrize(("kind", "cls"), MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_mutant_is_caught_by_its_check(kind, cls):
    check = checks_of(kind, cls)[cls.caught_by]
    with pytest.raises(Exception) as caught:
        check()
    raised_in = {str(entry.path) for entry in caught.traceback}
    assert isinstance(caught.value, Failure) or sys.modules[cls.__module__].__file__ in raised_in, caught.value


@pytest.mark.parametrize(("kind", "cls"), SOUND, ids=lambda value: getattr(value, "__name__", value))
def test_what_mutants_are_made_of_passes_every_check(kind, cls):
    for check in checks_of(kind, cls).values():
        try:
            check()
        except SkipTest:
            continue
