"""Checks of modalities."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any
from unittest import SkipTest

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from sensorium import seeding
from sensorium.contracts import Modality
from sensorium.data.content import digest
from sensorium.data.packed_values import Unstorable, packed, unpacked
from sensorium.errors import BadSample
from sensorium.testing.another_process import in_another_process
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.equality import global_random_state, same
from sensorium.types import Batch

GARBAGE: tuple[object, ...] = (b"\x00no such thing\xff", b"", "\x00no such file\x00", -1, object(), [], {})


def decodes_deterministically(checked: CheckedPart) -> None:
    """Every sample decodes to the same example each time, without global randomness; examples can be pickled."""
    checked.modality  # noqa: B018  built before the state is read
    before = global_random_state()
    one, other = checked.examples(), checked.examples()
    expect(same(one, other), "decoding a value twice gives two different examples")
    expect(same(global_random_state(), before), "decode draws from a global generator")
    expect(same(pickle.loads(pickle.dumps(one)), one), "an example changes when pickled")


def collates_to_a_batch(checked: CheckedPart) -> None:
    """Examples collate to one batch on the CPU with one row for each; `to`, `select` and `cat` preserve it."""
    batch, count = checked.batch, len(checked.raws)
    expect(isinstance(batch, Batch), f"collate returns a {type(batch).__name__}, not a sensorium.Batch")
    expect(len(batch) == count, f"{count} examples collate to {len(batch)} rows")
    expect(batch.device.type == "cpu", f"collate puts its batch on {batch.device}")
    halves = [batch.select(torch.tensor([row])) for row in range(count)]
    expect(same(type(batch).cat(halves), batch), "splitting a batch by select and joining it by cat changes it")
    expect(same(batch.to("cpu"), batch), "moving a batch by .to changes it")
    reverse = torch.arange(count).flip(0)
    expect(same(batch.select(reverse).select(reverse), batch), "reversing the order of a batch twice changes it")


def batches_move_whole(checked: CheckedPart) -> None:
    """On a device a batch is as it was, what only the host knows included; it is a pytree, and can be pickled."""
    batch, there = checked.batch, checked.batch.to("meta")
    for name, tensor in there.tensors().items():
        expect(tensor.is_meta, f"moving a batch by .to leaves its field '{name}' on {tensor.device}")
    for name in (field.name for field in dataclasses.fields(batch)):
        known = getattr(batch, name)
        kept = known is None or isinstance(known, Tensor) or same(getattr(there, name), known)
        expect(kept, f"moving a batch by .to changes its field '{name}'")
    joined = type(there).cat([there, there])
    expect(len(there) == len(batch), f"{len(batch)} rows moved by .to are {len(there)}")
    expect(len(joined) == 2 * len(batch), f"twice {len(batch)} rows joined by cat on a device are {len(joined)}")
    expect(there.shape_key() == joined.shape_key() == batch.shape_key(), "the shape_key of a batch changes on a device")
    leaves, spec = tree_flatten(batch)
    expect(same(tree_unflatten(leaves, spec), batch), "a batch changes when it is flattened as a pytree and rebuilt")
    expect(same(pickle.loads(pickle.dumps(batch)), batch), "a batch changes when pickled")


def restores_from_its_state(checked: CheckedPart) -> None:
    """`state` is plain JSON, and a new modality that loads it decodes the same."""
    learned = checked.new_modality()
    learned.fit(checked.raws)
    expect(learned.is_fitted, "it is not fitted after fit")
    try:
        state = json.loads(json.dumps(learned.state()))
    except (TypeError, ValueError) as error:
        expect(False, f"its state is not plain JSON: {error}")
    restored = checked.new_modality()
    restored.load_state(state)
    expect(restored.is_fitted, "it is not fitted after load_state")
    for raw in checked.raws:
        expect(same(restored.decode(raw), learned.decode(raw)), "a modality restored from its state decodes otherwise")


def rejects_undecodable_values(checked: CheckedPart) -> None:
    """An invalid value raises `BadSample`, so that an unreadable record never stops a training."""
    for raw in GARBAGE:
        try:
            checked.modality.decode(raw)
        except BadSample as refused:
            expect(str(refused).strip() != "", f"BadSample for {raw!r} gives no reason")
        except Exception as error:
            expect(False, f"decode({raw!r}) raises {type(error).__name__}, not BadSample")


def previews_its_examples(checked: CheckedPart) -> None:
    """An example, and a row of a batch, has a preview: an RGB image of at most 256 pixels a side."""
    if type(checked.modality).preview is Modality.preview:
        raise SkipTest("it has no previews")
    rows = checked.modality.examples(checked.batch)
    expect(len(rows) == len(checked.batch), f"a batch of {len(checked.batch)} gives {len(rows)} examples")
    for example in (*checked.examples(), *rows):
        image = checked.modality.preview(example)
        expect(isinstance(image, Image), f"preview returns a {type(image).__name__}, not a PIL image")
        fits = image.mode == "RGB" and max(image.size) <= 256
        expect(fits, f"a preview is {image.mode} of {image.size} pixels, not RGB of at most 256")


def sounds_are_samples(checked: CheckedPart) -> None:
    """An example that can be played is float32 (C, S) of one or two channels at a rate in Hz."""
    for example in checked.examples():
        sound = checked.modality.sound(example)
        if sound is None:
            raise SkipTest("its examples are no sound")
        samples_CS, rate = sound
        is_sound = isinstance(samples_CS, np.ndarray) and samples_CS.dtype == np.float32 and samples_CS.ndim == 2
        expect(is_sound and len(samples_CS) in (1, 2), "sound does not return float32 samples of one or two channels")
        expect(isinstance(rate, int) and rate > 0, f"the rate of its sound is {rate!r}, not a number of Hz")
        expect(bool(np.isfinite(samples_CS).all()), "the samples of its sound are not finite")


def describes_its_values(checked: CheckedPart) -> None:
    """Facts about a value are numbers, bools or words by name, the same each time; equal values have equal content."""
    examples = checked.examples()
    for raw, example, again in zip(checked.raws, examples, checked.examples(), strict=True):
        facts = checked.modality.describe(raw, example)
        for name, fact in facts.items():
            valid = isinstance(name, str) and isinstance(fact, bool | int | float | str)
            expect(valid, f"describe gives {name!r} = {fact!r}, not a number, a bool or a word under a name")
        expect(facts == checked.modality.describe(raw, again), "describing a value twice gives different facts")
        contents = [digest(checked.modality.content(raw, one)) for one in (example, again)]
        expect(contents[0] == contents[1], "the content of a value differs when it is decoded twice")


def has_valid_baseline_features(checked: CheckedPart) -> None:
    """Baseline features, if the modality has them, are finite float32 (B, D)."""
    features = checked.modality.baseline_features(checked.batch)
    if features is None:
        raise SkipTest("it has no baseline features")
    expect(
        isinstance(features, np.ndarray) and features.dtype == np.float32 and features.ndim == 2,
        "baseline_features does not return a float32 array (B, D)",
    )
    expect(
        len(features) == len(checked.batch), f"baseline_features returns {len(features)} rows for {len(checked.batch)}"
    )
    expect(bool(np.isfinite(features).all()), "baseline features are not finite")


def has_valid_descriptors(checked: CheckedPart) -> None:
    """Descriptors, if the modality has them, are float32 (P,), as many as names, defined for some example."""
    modality = checked.modality
    if not modality.has_descriptors():
        raise SkipTest("it has no descriptors")
    names, before = modality.descriptor_names, global_random_state()
    rows = []
    for example in checked.examples():
        kept = copy.deepcopy(example)
        row, again = (modality.descriptors(example) for _ in range(2))
        valid = isinstance(row, np.ndarray) and row.dtype == np.float32 and row.shape == (len(names),)
        expect(valid, f"descriptors does not return a float32 array with one number for each of {len(names)} names")
        expect(same(row, again), "descriptors of one example differ from call to call")
        expect(same(example, kept), "descriptors changes its example: work on a copy, for it may be cached")
        rows.append(row)
    expect(same(global_random_state(), before), "descriptors draws from a global generator")
    expect(0 < len(names) == len(set(names)), "descriptor_names is empty, or has a name twice")
    expect(not np.isinf(rows).any(), "a descriptor is infinite: return nan where it is undefined")
    expect(bool(np.isfinite(rows).any()), "no descriptor of any sample is defined")


def encodes_its_examples(checked: CheckedPart) -> None:
    """An example that it writes decodes to what collates to the same batch, and is stored without code, before fit."""
    if not checked.modality.has_encoding():
        raise SkipTest("it writes no examples")
    packing = checked.new_modality()
    for raw, example in zip(checked.raws, checked.examples(), strict=True):
        try:
            written = packing.decode(raw)
        except Exception as error:
            expect(False, f"decode fails before fit, as when data are packed: {type(error).__name__}: {error}")
        kept = copy.deepcopy(written)
        value = packing.encode(written)
        expect(same(written, kept), "encode changes its example: work on a copy, for it may be cached")
        if not isinstance(value, str | bytes):
            try:
                value = unpacked(packed(value))
            except Unstorable as error:
                expect(False, f"encode returns what no file holds: {error}")
        again, before = (checked.modality.collate([one]) for one in (checked.modality.decode(value), example))
        expect(same(again, before), f"what encode wrote of {raw!r:.60} decodes to another example")


def leaves_values_as_they_are(checked: CheckedPart) -> None:
    """`fit`, `decode`, `describe` and `collate` change neither raw values nor examples."""
    raws, modality = copy.deepcopy(list(checked.raws)), checked.new_modality()
    modality.fit(raws)
    expect(same(raws, list(checked.raws)), "fit changes raw values: work on a copy")
    examples = [modality.decode(raw) for raw in raws]
    expect(same(raws, list(checked.raws)), "decode changes its raw value: work on a copy")
    kept = copy.deepcopy(examples)
    for raw, example in zip(raws, examples, strict=True):
        modality.describe(raw, example)
        modality.content(raw, example)
    expect(same((raws, examples), (list(checked.raws), kept)), "describe or content changes its value: work on a copy")
    modality.collate(examples)
    expect(same(examples, kept), "collate changes examples: work on a copy, for they may be cached")


def collates_each_example_to_its_row(checked: CheckedPart) -> None:
    """Row i of a batch is of example i alone: it moves with it, and does not change with the others."""
    examples, count = checked.examples(), len(checked.raws)
    order = [1, 0, *range(2, count)][:count]
    moved, expected = checked.modality.collate([examples[i] for i in order]), checked.batch.select(torch.tensor(order))
    expect(same(moved, expected), "examples in another order collate to rows in yet another, or to other rows")
    for row in range(count):
        others = torch.tensor([other for other in range(count) if other != row], dtype=torch.int64)
        replaced = [examples[(row + 1) % count] if i == row else example for i, example in enumerate(examples)]
        batch = checked.modality.collate(replaced)
        if _field_shapes(batch) == _field_shapes(checked.batch):
            expect(
                same(batch.select(others), checked.batch.select(others)),
                f"the rows of other examples change when example {row} is another: collate each example by itself",
            )


def fits_deterministically(checked: CheckedPart) -> None:
    """Fitted to the same values it has the same state, drawing nothing globally, in one pass."""
    states = []
    for number in range(2):
        modality = checked.new_modality()
        seeding.seed_globals("fits_deterministically", number)
        before = global_random_state()
        modality.fit(iter(checked.raws) if number else checked.raws)
        expect(same(global_random_state(), before), "fit draws from a global generator")
        states.append(modality.state())
    expect(
        same(*states),
        "fitted twice to the same values, to a list and to an iterator, it has two states: fit must draw nothing at "
        "random, and read its values in one pass",
    )


def is_the_same_in_every_process(checked: CheckedPart) -> None:
    """Another process fits the same state and decodes the same examples: ids and order come of no `hash()` or set."""
    alone = checked.alone()
    here, there = fitted_and_decoded(alone), in_another_process(fitted_and_decoded, alone)
    expect(
        same(here["state"], there["state"]),
        "another process fits another state: what it learned depends on hash(), the order of a set, or the object",
    )
    expect(
        same(here["examples"], there["examples"]),
        "another process decodes other examples: they depend on hash(), on the order of a set, or on the object",
    )
    expect(
        same(here["descriptors"], there["descriptors"]),
        "another process has other descriptors of an example: they depend on hash(), or on the order of a set",
    )


def fitted_and_decoded(checked: CheckedPart) -> dict[str, Any]:
    """Return the state that a new modality learns, and the examples that it decodes."""
    modality = checked.new_modality()
    modality.fit(checked.raws)
    examples = [modality.decode(raw) for raw in checked.raws]
    described = [modality.descriptors(example) for example in examples] if modality.has_descriptors() else []
    return {"state": modality.state(), "examples": examples, "descriptors": described}


def _field_shapes(batch: Batch) -> dict[str, torch.Size]:
    return {name: field.shape for name, field in batch.tensors().items()}


CHECKS = (
    decodes_deterministically,
    collates_to_a_batch,
    batches_move_whole,
    restores_from_its_state,
    rejects_undecodable_values,
    describes_its_values,
    previews_its_examples,
    sounds_are_samples,
    has_valid_baseline_features,
    has_valid_descriptors,
    encodes_its_examples,
    leaves_values_as_they_are,
    collates_each_example_to_its_row,
    fits_deterministically,
    is_the_same_in_every_process,
)
