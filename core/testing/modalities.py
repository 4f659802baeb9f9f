"""What every modality holds to."""

from __future__ import annotations

import json
import pickle
from unittest import SkipTest

import numpy as np
import torch
from PIL.Image import Image

from sensorium.contracts import Modality
from sensorium.errors import BadSample
from sensorium.testing.case import Case, expect
from sensorium.testing.equality import global_random_state, same
from sensorium.types import Batch

GARBAGE: tuple[object, ...] = (b"\x00no such thing\xff", b"", "\x00no such file\x00", -1, object(), [], {})


def decodes_its_samples(case: Case) -> None:
    """Every sample decodes, to the same example each time, without randomness; examples travel between processes."""
    case.modality  # noqa: B018  built before the state is read
    before = global_random_state()
    one, other = case.examples(), case.examples()
    expect(same(one, other), "decoding a value twice gives two different examples")
    expect(same(global_random_state(), before), "decode draws from a global generator")
    expect(same(pickle.loads(pickle.dumps(one)), one), "an example does not survive pickling")


def collates_to_a_batch(case: Case) -> None:
    """Examples become one batch on the CPU that has a row for each, and can be moved, selected from and joined."""
    batch, count = case.batch, len(case.raws)
    expect(isinstance(batch, Batch), f"collate returns a {type(batch).__name__}, not a sensorium.Batch")
    expect(len(batch) == count, f"{count} examples collate to {len(batch)} rows")
    expect(batch.device.type == "cpu", f"collate puts its batch on {batch.device}")
    halves = [batch.select(torch.tensor([row])) for row in range(count)]
    expect(same(type(batch).cat(halves), batch), "taking a batch apart by select and joining it by cat changes it")
    expect(same(batch.to("cpu"), batch), "moving a batch with .to changes it")
    turned = torch.arange(count).flip(0)
    expect(same(batch.select(turned).select(turned), batch), "turning the order of a batch twice changes it")


def survives_its_state(case: Case) -> None:
    """What `fit` learned is plain JSON, and a new modality that loads it decodes the same."""
    learned = case.new_modality()
    learned.fit(case.raws)
    expect(learned.is_fitted, "it is not fitted after fit")
    state = json.loads(json.dumps(learned.state()))
    restored = case.new_modality()
    restored.load_state(state)
    expect(restored.is_fitted, "it is not fitted after load_state")
    for raw in case.raws:
        expect(same(restored.decode(raw), learned.decode(raw)), "a modality restored from its state decodes otherwise")


def refuses_what_it_cannot_decode(case: Case) -> None:
    """A value that is no sample raises `BadSample`, so that one bad record never stops a training."""
    for raw in GARBAGE:
        try:
            case.modality.decode(raw)
        except BadSample as refused:
            expect(str(refused).strip() != "", f"BadSample for {raw!r} gives no reason")
        except Exception as error:
            expect(False, f"decode({raw!r}) raises {type(error).__name__}, not BadSample")


def previews_its_examples(case: Case) -> None:
    """An example, and a row of a batch, can be drawn as an RGB picture of at most 256 pixels a side."""
    if type(case.modality).preview is Modality.preview:
        raise SkipTest("it draws no previews")
    rows = case.modality.examples(case.batch)
    expect(len(rows) == len(case.batch), f"a batch of {len(case.batch)} is taken apart into {len(rows)} examples")
    for example in (*case.examples(), *rows):
        picture = case.modality.preview(example)
        expect(isinstance(picture, Image), f"preview returns a {type(picture).__name__}, not a PIL image")
        fits = picture.mode == "RGB" and max(picture.size) <= 256
        expect(fits, f"a preview is {picture.mode} of {picture.size} pixels, not RGB of at most 256")


def has_sound_baseline_features(case: Case) -> None:
    """baseline features, where a modality has them, are finite float32 (B, D)."""
    features = case.modality.baseline_features(case.batch)
    if features is None:
        raise SkipTest("it has no baseline features")
    expect(
        isinstance(features, np.ndarray) and features.dtype == np.float32 and features.ndim == 2,
        "baseline_features returns no float32 array (B, D)",
    )
    expect(len(features) == len(case.batch), f"baseline_features returns {len(features)} rows for {len(case.batch)}")
    expect(bool(np.isfinite(features).all()), "baseline features are not finite")


CHECKS = (
    decodes_its_samples,
    collates_to_a_batch,
    survives_its_state,
    refuses_what_it_cannot_decode,
    previews_its_examples,
    has_sound_baseline_features,
)
