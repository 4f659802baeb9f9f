"""Checks of view generators."""

from __future__ import annotations

import copy
from unittest import SkipTest

import torch

from sensorium import seeding
from sensorium.contracts import ViewGenerator
from sensorium.testing import view_rows
from sensorium.testing.checked_part import CheckedPart, expect, expect_few_waits, rng
from sensorium.testing.emulation import Emulation, emulated_device
from sensorium.testing.equality import global_random_state, same, tensors_in
from sensorium.testing.fixed_seeds import seeds_of_draws
from sensorium.types import View


def returns_the_declared_number_of_views(checked: CheckedPart) -> None:
    """A call returns `views` views, then `negative_views` negative ones, all with the rows of its input."""
    views = checked.views()
    expect(all(isinstance(view, View) for view in views), "it does not return View objects")
    declared = [False] * checked.generator.views + [True] * checked.generator.negative_views
    found = [view.is_negative for view in views]
    expect(
        found == declared,
        f"it declares {declared.count(False)} views and {declared.count(True)} negative ones, but "
        f"returns {found.count(False)} and {found.count(True)}, or in another order",
    )
    for number, view in enumerate(views):
        expect(
            isinstance(view.batch, type(checked.batch)),
            f"view {number} has a {type(view.batch).__name__}, not a {type(checked.batch).__name__}",
        )
        rows = len(view)
        expect(rows == len(checked.batch), f"view {number} has {rows} rows, its input {len(checked.batch)}")


def returns_the_declared_target(checked: CheckedPart) -> None:
    """A generator with a `target` gives each view one target for each row, and one without gives none."""
    for number, view in enumerate(checked.views()):
        if checked.generator.target is None:
            expect(view.target is None, f"view {number} has a target, but the generator declares none")
        else:
            expect(view.target is not None, f"view {number} lacks the declared target '{checked.generator.target}'")
            rows = len(view.target)
            expect(rows == len(view), f"view {number} has {rows} targets for {len(view)} rows")


def returns_the_declared_info(checked: CheckedPart) -> None:
    """Every view has the entries of `info` that the generator declares, with one row for each of its rows."""
    for number, view in enumerate(checked.views()):
        for name in checked.generator.info:
            expect(name in view.info, f"view {number} lacks the declared info '{name}'")
            rows = len(view.info[name])
            expect(rows == len(view), f"view {number} has {rows} rows of info '{name}' for {len(view)} rows")


def is_deterministic_given_its_generator(checked: CheckedPart) -> None:
    """The same generator state gives the same views, whatever the state of the global generators."""
    made = []
    for number in range(2):
        seeding.seed_globals("is_seedable", number)
        made.append(checked.views(seed=1))
    expect(same(*made), "two calls with the same generator state return different views")


def does_not_modify_its_input(checked: CheckedPart) -> None:
    """Its input batch is bit-equal after the call."""
    batch = copy.deepcopy(checked.batch)
    checked.generator(batch, rng(0))
    expect(same(batch, checked.batch), "it modifies its input batch")


def uses_no_global_randomness(checked: CheckedPart) -> None:
    """The states of the global generators of torch, numpy and Python do not change."""
    checked.generator, checked.batch  # noqa: B018  built before the state is read
    before = global_random_state()
    checked.views()
    expect(same(global_random_state(), before), "it draws from a global generator")


def preserves_device_and_precision(checked: CheckedPart) -> None:
    """Views are on the device of their batch; floats are finite, and of no higher precision than the input."""
    widest = max((t.dtype.itemsize for t in tensors_in(checked.batch) if t.is_floating_point()), default=4)
    for number, view in enumerate(checked.views()):
        for tensor in tensors_in((view.batch, view.target, view.info)):
            expect(
                tensor.device == checked.batch.device,
                f"view {number} is on {tensor.device}, not on the device of its batch",
            )
            expect(not tensor.requires_grad, f"view {number} requires a gradient")
            if tensor.is_floating_point():
                expect(tensor.dtype.itemsize <= max(widest, 4), f"view {number} has dtype {tensor.dtype}")
    given = all(bool(torch.isfinite(t).all()) for t in tensors_in(checked.batch) if t.is_floating_point())
    for number, view in enumerate(checked.views()):
        floats = (t for t in tensors_in(view.batch) if t.is_floating_point())
        expect(not given or all(bool(torch.isfinite(t).all()) for t in floats), f"view {number} is not finite")


def runs_on_a_gpu(checked: CheckedPart) -> None:
    """On an emulated CUDA device it mixes no devices, its views are there, and it waits once at most."""
    with Emulation() as emulation:
        device = emulated_device()
        rng_there = seeding.generator("conformance", 0, device=device)
        batch = checked.batch.to(device)
        checked.generator(batch, rng_there)
        emulation.synchronizations.clear()  # the first time, constants may be copied to the device
        views = checked.generator(batch, rng_there)
        expect_few_waits(emulation.synchronizations, 1, "making the views of a batch")
        for number, view in enumerate(views):
            for tensor in tensors_in((view.batch.tensors(), view.target, view.info)):
                expect(tensor.device == device, f"on a GPU, a tensor of view {number} is on {tensor.device}")


def accepts_a_batch_of_one(checked: CheckedPart) -> None:
    """A batch of one record gives views of one row."""
    one = checked.batch.select(torch.tensor([0]))
    expect(
        all(len(view) == 1 for view in checked.views(batch=one)), "a batch of one record gives views of another size"
    )


def stages_deterministically_given_its_generator(checked: CheckedPart) -> None:
    """The per-example stage is deterministic, does not modify its example and uses no global randomness."""
    if type(checked.generator).stage is ViewGenerator.stage:
        raise SkipTest("it has no per-example stage")
    for example in checked.examples():
        kept, before = copy.deepcopy(example), global_random_state()
        one, other = checked.generator.stage(example, rng(1)), checked.generator.stage(example, rng(1))
        expect(same(one, other), "two calls of stage with the same generator state differ")
        expect(same(example, kept), "stage modifies its input example")
        expect(same(global_random_state(), before), "stage draws from a global generator")


def draws_anew_in_every_step(checked: CheckedPart) -> None:
    """What it draws, it draws from the generator that it is given, which is another in every step."""
    one, other = (seeds_of_draws(lambda seed=seed: checked.views(seed)) for seed in (1, 2))
    fixed = one & other
    expect(
        not fixed,
        f"it draws from a generator of its own with the fixed seed {min(map(str, fixed), default='')}: "
        "every step has the same views; draw from the generator that it is given",
    )
    if type(checked.generator).stage is not ViewGenerator.stage:
        example = checked.examples()[0]
        one, other = (
            seeds_of_draws(lambda seed=seed: checked.generator.stage(copy.deepcopy(example), rng("stage", seed)))
            for seed in (1, 2)
        )
        expect(
            not one & other,
            "stage draws from a generator of its own with a fixed seed: every epoch has the same "
            "examples; draw from the generator that it is given",
        )


def has_targets_within_its_classes(checked: CheckedPart) -> None:
    """Targets of a generator with `classes` are int64 from 0 to below it, -100 where ignored; others are finite."""
    if checked.generator.target is None:
        raise SkipTest("it has no target")
    classes = checked.generator.classes
    for seed in range(4):
        for number, view in enumerate(checked.views(seed)):
            target = view.target
            if target is None:
                continue
            if classes is None:
                finite = not target.is_floating_point() or bool(target.isfinite().all())
                expect(finite, f"the target of view {number} is not finite")
                continue
            expect(target.dtype == torch.int64, f"the target of view {number} has dtype {target.dtype}, not int64")
            valid = target[target != view_rows.IGNORED] if checked.generator.per_token else target
            low, high = (int(valid.min()), int(valid.max())) if valid.numel() else (0, 0)
            expect(
                low >= 0 and high < classes,
                f"targets of view {number} reach from {low} to {high}, and classes = {classes} allows 0 to "
                f"{classes - 1}",
            )


def can_be_made_before_its_modality_is_fitted(checked: CheckedPart) -> None:
    """Made with a modality that is fitted only afterwards, as a training does, it returns the same views."""
    modality = checked.new_modality()
    if modality.is_fitted:
        raise SkipTest("its modality learns nothing from data")
    try:
        generator = checked.build(checked.spec, modality)
    except Exception as error:
        expect(
            False,
            f"made before its modality is fitted, as a training does, it raises {type(error).__name__}: {error}; read "
            "what the modality learned when it is called",
        )
    modality.load_state(checked.modality.state())
    made = generator(copy.deepcopy(checked.batch), rng(0))
    expect(
        same(made, checked.views()),
        "made before its modality is fitted, as a training does, it returns other views than made afterwards; read "
        "what the modality learned when it is called",
    )


def leaves_earlier_views_as_they_are(checked: CheckedPart) -> None:
    """A later call does not write into the views that an earlier one returned."""
    views = checked.views(1)
    kept = copy.deepcopy(views)
    checked.views(2)
    expect(same(views, kept), "a call changes the views of the call before: make new tensors in each")


CHECKS = (
    returns_the_declared_number_of_views,
    returns_the_declared_target,
    returns_the_declared_info,
    is_deterministic_given_its_generator,
    does_not_modify_its_input,
    uses_no_global_randomness,
    preserves_device_and_precision,
    runs_on_a_gpu,
    accepts_a_batch_of_one,
    stages_deterministically_given_its_generator,
    draws_anew_in_every_step,
    has_targets_within_its_classes,
    can_be_made_before_its_modality_is_fitted,
    leaves_earlier_views_as_they_are,
    *view_rows.CHECKS,
)
