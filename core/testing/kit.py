"""The conformance kit: the checks of a registration, and of a whole plugin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from unittest import SkipTest

from sensorium.errors import PluginError
from sensorium.registration.discovery import Extensions, declared_value, load_extensions
from sensorium.registration.registry import KINDS, SINGULAR, Registry, Spec
from sensorium.testing import (
    callbacks,
    commands,
    encoders,
    evaluators,
    exporters,
    modalities,
    objectives,
    plugin_module,
    recipes,
    registrations,
    schedules,
    sources,
    splits,
    tokenizers,
    views,
)
from sensorium.testing.checked_part import CheckedPart, Failure
from sensorium.testing.emulation.synchronizations import innermost_line
from sensorium.testing.option_sets import OptionSets, sets_of, shown

CHECKS_BY_KIND = {
    "modalities": modalities.CHECKS,
    "encoders": encoders.CHECKS,
    "views": views.CHECKS,
    "objectives": objectives.CHECKS,
    "sources": sources.CHECKS,
    "splits": splits.CHECKS,
    "tokenizers": tokenizers.CHECKS,
    "schedules": schedules.CHECKS,
    "callbacks": callbacks.CHECKS,
    "evaluators": evaluators.CHECKS,
    "exporters": exporters.CHECKS,
    "recipes": recipes.CHECKS,
    "commands": commands.CHECKS,
}
_WITHOUT_OPTIONS = ("recipes", "commands")
"""Kinds that no options build."""


@dataclass(frozen=True)
class Check:
    """One named check; calling it raises an error if it fails, or `unittest.SkipTest` if it does not apply.

    Args:
        name: subject and expectation, such as "encoder rings/mlp returns pooled features of its declared dim".
        run: the check.
        skip: why it cannot run, such as a missing optional package; empty if it can.
    """

    name: str
    run: Callable[[], None]
    skip: str = ""

    def __call__(self) -> None:
        """Run the check."""
        if self.skip:
            raise SkipTest(self.skip)
        self.run()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Args:
        name: the check's name.
        status: passed, failed, or skipped if the check does not apply or an optional package is missing.
        reason: why it failed or was skipped.
        seconds: wall-clock time.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    reason: str
    seconds: float


def yield_checks(
    spec: Spec,
    registry: Registry,
    samples: Mapping[str, Sequence[Any]] | None = None,
    options: OptionSets | None = None,
) -> Iterator[Check]:
    """Yield the checks of one registration, by its kind.

    Args:
        spec: the registration.
        registry: everything that is registered.
        samples: modality name -> raw values to test it, its encoders and its view generators on.
        options: "kind/name" -> constructor options, or a list of several sets of them: the part is checked with each,
            other parts are made with the first. Without an entry the defaults are used.
    """
    sets = {key: sets_of(value) for key, value in (options or {}).items()}
    first, own = {key: several[0] for key, several in sets.items()}, f"{spec.kind}/{spec.name}"
    cases = sets.get(own, [{}])
    for number, case in enumerate(cases, 1):
        checked = CheckedPart(spec, registry, samples or {}, first | {own: case})
        yield from _checks_of_case(checked, f" {shown(case, number)}" if len(cases) > 1 else "", number == 1)


def _checks_of_case(checked: CheckedPart, case: str, is_first: bool) -> Iterator[Check]:
    """Yield the checks of a part with one set of options; those of the registration itself only for the first set."""
    spec = checked.spec
    absent = spec.missing_packages()
    skip = f"{', '.join(absent)} is not installed" if absent else ""
    checks = registrations.checks_for(spec.kind) if is_first else ()
    if spec.kind in CHECKS_BY_KIND:
        ready = absent or spec.kind in _WITHOUT_OPTIONS or _passes(checked.has_samples_and_options)
        checks += CHECKS_BY_KIND[spec.kind] if ready else (CheckedPart.has_samples_and_options,)
    belongs = f"{spec.modality}/" if spec.modality else ""
    for check in checks:
        name = f"{SINGULAR[spec.kind]} {belongs}{spec.name}{case} {check.__name__.replace('_', ' ')}"
        yield Check(name, partial(check, checked), skip)


def checks_of(
    name: str,
    extensions: Extensions | None = None,
    samples: Mapping[str, Sequence[Any]] | None = None,
    options: OptionSets | None = None,
) -> list[Check]:
    """Return the checks of everything that one plugin registered, for `pytest.mark.parametrize`.

    Args:
        name: the plugin's entry point or distribution.
        extensions: the plugins to search; default, the installed ones.
        samples: modality name -> raw values, added to the `sensorium_samples` of the loaded plugins' modules.
        options: "kind/name" -> constructor options, or a list of several sets, added to their `sensorium_options`.

    Raises:
        PluginError: when there is no such plugin, or it is not loaded.
    """
    extensions = extensions or load_extensions()
    plugin = extensions.find(name)
    if plugin.state != "loaded":
        raise PluginError(f"Nothing can be checked: {plugin.sentence}.") from plugin.error
    costly = (spec for kind in ("encoders", "tokenizers") for spec in extensions.registry.specs(kind))
    own = {f"{spec.kind}/{spec.name}" for spec in costly if spec.plugin == plugin.name}
    samples = extensions.declared("sensorium_samples") | {
        name: declared_value(value) if isinstance(value, str) else value for name, value in (samples or {}).items()
    }
    # The options of other plugins' encoders may be costly to make, and no check builds these.
    options = extensions.declared(
        "sensorium_options", lambda key: key in own or not key.startswith(("encoders/", "tokenizers/")), plugin
    ) | dict(options or {})
    checks = [
        Check(f"plugin {plugin.name} {check.__name__.replace('_', ' ')}", partial(check, plugin))
        for check in plugin_module.CHECKS
    ]
    for kind in KINDS:
        for spec in extensions.registry.specs(kind):
            if spec.plugin == plugin.name:
                checks += yield_checks(spec, extensions.registry, samples, options)
    return checks


def check_plugin(
    name: str,
    extensions: Extensions | None = None,
    samples: Mapping[str, Sequence[Any]] | None = None,
    options: OptionSets | None = None,
    only: str = "",
) -> Iterator[CheckResult]:
    """Run the checks of one plugin whose names contain `only`, and yield their results; see `checks_of` for the rest.

    Raises:
        PluginError: when there is no such plugin, it is not loaded, or it has no check of such a name.
    """
    checks = [check for check in checks_of(name, extensions, samples, options) if only.lower() in check.name.lower()]
    if not checks:
        raise PluginError(f"The plugin '{name}' has no check whose name contains '{only}'.")
    for check in checks:
        start = time.perf_counter()
        status: Literal["passed", "failed", "skipped"] = "passed"
        reason = ""
        try:
            check()
        except SkipTest as skipped:
            status, reason = "skipped", str(skipped)
        except (Failure, PluginError) as failure:
            status, reason = "failed", str(failure)
        except Exception as error:
            status, reason = "failed", f"{type(error).__name__}: {error}{_place_of(error)}"
        yield CheckResult(check.name, status, reason, time.perf_counter() - start)


def _place_of(error: Exception) -> str:
    """Return " at file:line function" of the innermost line that is not of torch, or nothing where there is none."""
    place = innermost_line(error)
    return f" at {place}" if place else ""


def _passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except (Failure, PluginError):
        return False
    return True
