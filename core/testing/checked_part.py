"""The test case of a check: one registration, with the raw samples and options to build and run it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from sensorium import seeding
from sensorium.contracts import Encoder, Modality, Source, ViewGenerator
from sensorium.registration.options import check_options, options_of
from sensorium.registration.registry import FILLED, Registry, Spec
from sensorium.testing.emulation.synchronizations import Synchronization, remedies, table
from sensorium.types import Batch, Features, View


class Failure(AssertionError):
    """A failed check; `str(failure)` is the reason."""


def expect(condition: bool, reason: str) -> None:
    """Raise `Failure` with the reason unless the condition is true."""
    if not condition:
        raise Failure(reason)


def expect_few_waits(found: list[Synchronization], most: int, what: str) -> None:
    """Raise `Failure`, with the lines and what to write instead, when the host waits for the device too often."""
    times = f"{most} at most" if most > 1 else "once at most"
    reason = f"{what} waits {len(found)} times for the device, not {times}"
    expect(len(found) <= most, f"{reason}:\n{table(found)}\nInstead, for\n{remedies(found)}")


@dataclass
class CheckedPart:
    """One registration under test.

    Args:
        spec: the registration.
        registry: has its modality, and view generators with a target.
        samples: modality name -> raw values to decode.
        options: "kind/name" -> constructor options; without an entry the defaults are used. The key "modality" of an
            encoder or view generator gives the options of the modality that it is tested on.
    """

    spec: Spec
    registry: Registry
    samples: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kept: dict[str, Any] = field(init=False, default_factory=dict, repr=False)
    """What one check made and others use, by name."""

    def build(self, spec: Spec | None = None, *first: Any) -> Any:
        """Return a new instance of a spec's class (default: the one under test), with the same weights every time."""
        spec = spec or self.spec
        seeding.seed_globals("conformance")
        cls, options = spec.load(), self.options_of(spec)
        return (cls.variant(options) if spec.kind == "encoders" else cls)(*first, **options)

    def options_of(self, spec: Spec) -> dict[str, Any]:
        """Return the constructor options of a part, as its constructor takes them from a recipe."""
        options = dict(self.options.get(f"{spec.kind}/{spec.name}", {}))
        options.pop("modality", None)
        if spec.kind == "modalities":
            options |= self.options.get(f"{self.spec.kind}/{self.spec.name}", {}).get("modality", {})
        declared = options_of(spec.load(), skip=FILLED.get(spec.kind, 0))
        if any(option.required and option.name not in options for option in declared):
            return options  # `has_samples_and_options` says what is missing
        return check_options(spec.load(), options, f"{spec.kind}/{spec.name}", FILLED.get(spec.kind, 0), spec.name)

    def has_samples_and_options(self) -> None:
        """There are raw values of its modality, and a value for each required option."""
        kind, name = self.spec.kind, self.spec.name
        if kind in ("modalities", "encoders", "views"):
            expect(
                bool(self.modality_name and len(self.samples.get(self.modality_name, ()))),
                f"there are no raw values to test it on: give them as "
                f"sensorium_samples = {{'{self.modality_name or 'modality'}': [...]}} in the plugin's module",
            )
        options = options_of(self.spec.load(), skip=FILLED.get(kind, 0))
        given = self.options_of(self.spec)
        missing = [option.name for option in options if option.required and option.name not in given]
        expect(
            not missing,
            f"it requires the options {', '.join(missing)}: give them as "
            f"sensorium_options = {{'{kind}/{name}': {{...}}}} in the plugin's module",
        )

    def alone(self) -> CheckedPart:
        """Return the same test case with nothing made, and no more of the registry and the samples than it needs."""
        registry, name = Registry(), self.modality_name
        belongs = self.spec.kind in ("modalities", "encoders", "views")
        specs = [self.registry.find("modalities", name)] if belongs else []
        registry.add([*specs, *([] if self.spec in specs else [self.spec])])
        samples = {name: self.samples[name]} if belongs else {}
        names = [f"{spec.kind}/{spec.name}" for spec in (*specs, self.spec)]
        own = {key: self.options[key] for key in names if key in self.options}
        return CheckedPart(self.spec, registry, samples, own)

    @property
    def modality_name(self) -> str:
        """The modality that it is, belongs to, or (if it serves all modalities) is tested on."""
        name = self.spec.name if self.spec.kind == "modalities" else self.spec.modality
        return name or next(iter(sorted(self.samples)), "")

    @property
    def raws(self) -> Sequence[Any]:
        """The raw values of the modality."""
        return self.samples[self.modality_name]

    def new_modality(self) -> Modality:
        """Return a new modality, not fitted."""
        return self.build(self.registry.find("modalities", self.modality_name))

    @cached_property
    def modality(self) -> Modality:
        """The modality, fitted to the raw values."""
        modality = self.new_modality()
        if not modality.is_fitted:
            modality.fit(self.raws)
        return modality

    def examples(self) -> list[Any]:
        """Return the decoded samples."""
        return [self.modality.decode(raw) for raw in self.raws]

    # What follows is for view generators and encoders.

    @cached_property
    def generator(self) -> ViewGenerator:
        """The view generator under test."""
        return self.build(self.spec, self.modality)

    @cached_property
    def batch(self) -> Batch:
        """The samples as one batch; for a view generator, after its per-example stage."""
        examples = self.examples()
        if self.spec.kind == "views":
            staged = (self.generator.stage(e, rng("stage", i)) for i, e in enumerate(examples))
            examples = list(staged)
        return self.modality.collate(examples)

    def views(self, seed: int = 0, batch: Batch | None = None) -> list[View]:
        """Return the generator's views of a copy of the batch."""
        return self.generator(copy.deepcopy(self.batch if batch is None else batch), rng(seed))

    def new_encoder(self) -> Encoder:
        """Return a new encoder, with the same weights every time."""
        return self.build(self.spec, self.modality)

    @cached_property
    def encoder(self) -> Encoder:
        """One encoder in eval mode for all checks, which do not change it."""
        return self.new_encoder().eval()

    @cached_property
    def features(self) -> Features:
        """Features of the batch, of the encoder in eval mode, without a graph."""
        with torch.no_grad():
            features = self.encoder(self.batch)
        return features

    # What follows is for sources.

    @cached_property
    def source(self) -> Source:
        """One source for all checks, which do not change it."""
        return self.build()


def rng(*names: object) -> torch.Generator:
    """Return a generator seeded from names."""
    return seeding.generator("conformance", *names)
