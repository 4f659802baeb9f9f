"""The first losses of an objective on a modality: small parts, found in the registry, and ten steps of training.

Nothing is listed here by name: an objective or a modality that is registered has its losses recorded like all others.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from sensorium.contracts import TokenEncoder, has_target
from sensorium.errors import PluginError, SensoriumError
from sensorium.models.learner import Learner, make_views
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import check_options, options_of
from sensorium.seeding import generator, seed_globals
from sensorium.testing.option_sets import sets_of
from sensorium.types import Record, RecordBatch, record_keys

FOLDER = Path(__file__).parent
STEPS, BATCH, RATE = 10, 8, 1e-3
EPSILON, ROUNDING, EPS = 1e-3, 1e-6, 1e-7
TOLERANCE = {"rel": 2e-3, "abs": 2e-4}
SMALL = {
    "width": 16,
    "dim": 16,
    "depth": 2,
    "layers": 2,
    "heads": 2,
    "bottleneck": 8,
    "prototypes": 16,
    "queue": 24,
    "directions": 8,
}
"""Sizes that keep parts small, for whichever of these options a part has."""


UNRECORDED = {"channel-transformer", "dmpnn"}
"""Parts with trainings of their own in the tests, before which the recorded ones come though not by name."""


class Unserved(Exception):
    """The modality has nothing that the objective could work on."""


@cache
def registry():
    return load_extensions({}, []).registry


@cache
def samples():
    return load_extensions({}, []).declared("sensorium_samples")


@cache
def _option_sets():
    """Return, by name, the objective and the options that it is tried with.

    An objective that the conformance kit checks with several sets of options is tried with each of them; the further
    ones are called NAME-VALUE, of the first option that is a word.
    """
    declared, found = load_extensions({}, []).declared("sensorium_options"), {}
    for spec in registry().specs("objectives"):
        first, *further = sets_of(declared.get(f"objectives/{spec.name}", {}))
        found[spec.name] = spec.name, first if further else {}
        for number, options in enumerate(further, 2):
            word = next((value for value in options.values() if isinstance(value, str)), str(number))
            found[f"{spec.name}-{word}"] = spec.name, options
    return found


def objectives():
    """Return the names of all objectives, and of their further sets of options."""
    return list(_option_sets())


def objective_class(objective):
    """Return the class and the small options of one of `objectives`."""
    name, options = _option_sets()[objective]
    cls = registry().find("objectives", name).load()
    return cls, small(cls) | check_options(cls, options, objective)


def modalities():
    """Return the modalities that can be tried here; objectives of many modalities take all pairs with the first."""
    return [
        spec.name for spec in registry().specs("modalities") if not spec.missing_packages() and spec.name in samples()
    ]


def small(cls, skip=0):
    """Return small values for the options of a class that have them."""
    annotations = {option.name: option for option in options_of(cls, skip=skip)}
    return {name: SMALL[name] for name in SMALL if name in annotations and "int" in annotations[name].type}


@cache
def fitted(name):
    """Return a modality that knows its samples, and eight of them as a batch."""
    modality = registry().find("modalities", name).load()(**({"size": 16} if name == "image" else {}))
    raws = list(samples()[name])
    if not modality.is_fitted:
        modality.fit(raws)
    return modality, modality.collate([modality.decode(raws[i % len(raws)]) for i in range(BATCH)])


@cache
def described(name):
    """Return the descriptors of the samples, float32 (B, P)."""
    modality, raws = fitted(name)[0], samples()[name]
    rows = [modality.descriptors(modality.decode(raws[i % len(raws)])) for i in range(BATCH)]
    return torch.from_numpy(np.stack(rows))


def built(kind, name, fits, **wanted):
    """Return the first part of a modality, small and built without a word but `wanted` ones, that fits."""
    modality, _ = fitted(name)
    for spec in registry().specs(kind):
        if spec.modality != name or spec.missing_packages() or spec.name in UNRECORDED:
            continue
        options = options_of(spec.load(), skip=1)
        sized = small(spec.load(), skip=1)
        if any(option.required for option in options) or (kind == "encoders" and not {"width", "dim"} & sized.keys()):
            continue
        asked = {key: value for key, value in wanted.items() if key in {option.name for option in options}}
        seed_globals("golden", kind, name, spec.name)
        try:
            part = spec.load()(modality, **sized, **asked)
        except (SensoriumError, PluginError):
            continue
        if fits(part):
            return part
    raise Unserved(f"no {kind} of {name}")


def rounded(batches, rng):
    """Change the floating-point values of batches in place, as another processor's rounding would."""
    for batch in batches:
        for x in vars(batch).values():
            if isinstance(x, torch.Tensor) and x.is_floating_point() and x.numel():
                x += EPS * x.nan_to_num().abs().max() * torch.randn(x.shape, generator=rng)


def learner_and_generators(objective, names, causal=False):
    """Return a learner and the view generator of each modality; raises Unserved where the pair has no meaning."""
    cls, options = objective_class(objective)
    needs = cls.variant(options).needs

    def shown(views):
        enough = views.views == needs.views or (needs.multicrop and views.views > needs.views)
        return (
            enough
            and not (views.negative_views or views.per_token)
            and (has_target(views, needs.target) if needs.target else views.target is None)
        )

    def encodes(encoder):
        return isinstance(encoder, TokenEncoder) or not needs.tokens

    generators = {n: built("views", n, shown) for n in names}
    encoders = {n: built("encoders", n, encodes, causal=causal) for n in names}
    if needs.target == "class":
        options["classes"] = generators[names[0]].classes
    beside = {
        "descriptors": {n: described(n).shape[1] for n in names} if needs.descriptors else {},
        "teachers": {n: built("encoders", n, encodes) for n in names} if needs.teacher else {},
    }
    seed_globals("golden", objective, *names)
    try:
        learner = Learner(encoders, cls.variant(options)(**options), views=generators[names[0]].views, **beside).train()
        if learner.objective.fits:
            seed_globals("golden", "fit")
            learner.fit([make_views(records_of(names, 0), generators, generator("golden", "fit"))])
    except SensoriumError as error:
        if not causal:
            return learner_and_generators(objective, names, causal=True)
        raise Unserved(str(error)) from error
    return learner, generators


def records_of(names, step, rows=range(BATCH), noise=None):
    """Return some of the records; with a `noise`, the seed of a change of the size of rounding, values are changed."""
    batches = {n: copy.deepcopy(fitted(n)[1].select(torch.tensor(rows))) for n in names}
    if noise is not None:
        rounded(batches.values(), generator("golden", "rounding", noise, step))
    named = [Record(str(i), {}) for i in rows]
    descriptors = {n: described(n)[torch.tensor(rows)] for n in names if fitted(n)[0].has_descriptors()}
    return RecordBatch(
        [r.id for r in named], batches, dict.fromkeys(names), record_keys(named), descriptors=descriptors
    )


def learner_and_views(objective, names, noise=None):
    """Return a learner, and what makes the views of a step; see `learner_and_generators` and `records_of`."""
    learner, generators = learner_and_generators(objective, names)

    def views(step, rows=range(BATCH)):
        """Return the views of a step on some of the records."""
        return make_views(records_of(names, step, rows, noise), generators, generator("golden", "views", step))

    return learner, views


def losses_of(objective, names, noise=None):
    """Return the losses of the first steps; `noise` seeds a change of weights and inputs of the size of rounding."""
    learner, views = learner_and_views(objective, names, noise=noise)
    if noise is not None:
        rng = torch.Generator().manual_seed(noise)
        with torch.no_grad():
            for weight in learner.parameters():
                weight *= 1 + ROUNDING * torch.randn(weight.shape, generator=rng)
    # Adam's usual epsilon makes a whole step of a gradient that is nothing but rounding.
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=RATE, eps=EPSILON)
    found = []
    for step in range(STEPS):
        seed_globals("golden", "step", step)
        try:
            loss = learner(views(step)).loss
        except SensoriumError as error:
            raise Unserved(str(error)) from error
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / STEPS)
        found.append(round(float(loss.detach()), 5))
    return found


def pairs():
    """Return every objective with the modalities that it is tried on together, as lists of names."""
    found = []
    for objective in objectives():
        many = objective_class(objective)[0].needs.is_crossmodal
        first, *others = modalities()
        found += [(objective, (first, n)) for n in others] if many else [(objective, (n,)) for n in modalities()]
    return found


def file_of(objective):
    return FOLDER / f"{objective}.json"


def kept(objective):
    """Return the recorded losses of an objective, by modalities joined with +."""
    path = file_of(objective)
    return json.loads(path.read_text()) if path.exists() else {}
