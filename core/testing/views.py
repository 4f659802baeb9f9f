"""What every view generator holds to."""

from __future__ import annotations

import copy
from unittest import SkipTest

import torch

from sensorium import seeding
from sensorium.contracts import ViewGenerator
from sensorium.testing.case import Case, expect, rng
from sensorium.testing.equality import global_random_state, same, tensors_in
from sensorium.types import View


def makes_the_declared_number_of_views(case: Case) -> None:
    """`views` says how many views a call returns; each has the rows of its input."""
    views = case.views()
    expect(all(isinstance(view, View) for view in views), "it returns something else than View objects")
    declared = [False] * case.generator.views + [True] * case.generator.negative_views
    found = [view.is_negative for view in views]
    expect(
        found == declared,
        f"it declares {declared.count(False)} views and {declared.count(True)} wrong ones, and "
        f"returns {found.count(False)} and {found.count(True)}, or in another order",
    )
    for number, view in enumerate(views):
        expect(
            isinstance(view.batch, type(case.batch)),
            f"view {number} holds a {type(view.batch).__name__}, not a {type(case.batch).__name__}",
        )
        rows = len(view)
        expect(rows == len(case.batch), f"view {number} has {rows} rows, its input {len(case.batch)}")


def carries_the_declared_target(case: Case) -> None:
    """A generator with a `target` gives each view one entry a row, and one without gives none."""
    for number, view in enumerate(case.views()):
        if case.generator.target is None:
            expect(view.target is None, f"view {number} has a target, but the generator declares none")
        else:
            expect(view.target is not None, f"view {number} lacks the declared target '{case.generator.target}'")
            rows = len(view.target)
            expect(rows == len(view), f"view {number} has {rows} targets for {len(view)} rows")


def has_the_declared_info(case: Case) -> None:
    """Every view has the entries of `info` that the generator declares, with a row for each of its own."""
    for number, view in enumerate(case.views()):
        for name in case.generator.info:
            expect(name in view.info, f"view {number} lacks the declared info '{name}'")
            rows = len(view.info[name])
            expect(rows == len(view), f"view {number} has {rows} rows of info '{name}' for {len(view)} rows")


def is_seedable(case: Case) -> None:
    """The same generator state gives the same views, whatever the global generators do."""
    made = []
    for number in range(2):
        seeding.seed_globals("is_seedable", number)
        made.append(case.views(seed=1))
    expect(same(*made), "two calls with equally seeded generators return different views")


def leaves_its_input_untouched(case: Case) -> None:
    """The batch that it is given is the same afterwards, in every bit."""
    batch = copy.deepcopy(case.batch)
    case.generator(batch, rng(0))
    expect(same(batch, case.batch), "it writes into the batch it is given")


def uses_no_global_randomness(case: Case) -> None:
    """The global generators of torch, numpy and Python are left where they were."""
    case.generator, case.batch  # noqa: B018  built before the state is read
    before = global_random_state()
    case.views()
    expect(same(global_random_state(), before), "it draws from a global generator")


def stays_on_the_device_and_in_single_precision(case: Case) -> None:
    """Views live where their batch lives; floats are finite, and none is wider than those that came in."""
    widest = max((t.dtype.itemsize for t in tensors_in(case.batch) if t.is_floating_point()), default=4)
    for number, view in enumerate(case.views()):
        for tensor in tensors_in((view.batch, view.target, view.info)):
            expect(tensor.device == case.batch.device, f"view {number} lives on {tensor.device}")
            expect(not tensor.requires_grad, f"view {number} asks for a gradient")
            if tensor.is_floating_point():
                expect(tensor.dtype.itemsize <= max(widest, 4), f"view {number} holds {tensor.dtype}")
    given = all(bool(torch.isfinite(t).all()) for t in tensors_in(case.batch) if t.is_floating_point())
    for number, view in enumerate(case.views()):
        floats = (t for t in tensors_in(view.batch) if t.is_floating_point())
        expect(not given or all(bool(torch.isfinite(t).all()) for t in floats), f"view {number} is not finite")


def takes_a_batch_of_one(case: Case) -> None:
    """A batch with one record has views with one row."""
    one = case.batch.select(torch.tensor([0]))
    expect(all(len(view) == 1 for view in case.views(batch=one)), "a batch of one record gives views of other sizes")


def stages_by_its_generator_alone(case: Case) -> None:
    """The per-example stage is seedable, leaves its example untouched and uses no global seeding."""
    if type(case.generator).stage is ViewGenerator.stage:
        raise SkipTest("it has no stage before collation")
    for example in case.examples():
        kept, before = copy.deepcopy(example), global_random_state()
        one, other = case.generator.stage(example, rng(1)), case.generator.stage(example, rng(1))
        expect(same(one, other), "two calls of stage with equally seeded generators differ")
        expect(same(example, kept), "stage writes into the example it is given")
        expect(same(global_random_state(), before), "stage draws from a global generator")


CHECKS = (
    makes_the_declared_number_of_views,
    carries_the_declared_target,
    has_the_declared_info,
    is_seedable,
    leaves_its_input_untouched,
    uses_no_global_randomness,
    stays_on_the_device_and_in_single_precision,
    takes_a_batch_of_one,
    stages_by_its_generator_alone,
)
