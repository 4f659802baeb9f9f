"""Checks of tokenizers, on texts in several scripts."""

from __future__ import annotations

import json

from sensorium.contracts import Tokenizer
from sensorium.testing.another_process import in_another_process
from sensorium.testing.checked_part import CheckedPart, expect

TEXTS = ("a small red house", "the house by the sea", "Ein kleines Haus", "дом у моря", "a, b; c!", "house " * 20)


def gives_ids_below_its_size(checked: CheckedPart) -> None:
    """Ids are integers from 0 to `size` - 1, and none is a special one, whatever a text spells."""
    made = _fitted(checked)
    spelled = [made.decode([id]) for id in made.special] + ["<s>", "[MASK]", "<|endoftext|>", "[PAD]"]
    for text in (*TEXTS, *spelled):
        ids = made.encode(text)
        expect(all(type(id) is int for id in ids), f"encode({text!r}) returns {ids[:5]}, not a list of integers")
        expect(all(0 <= id < made.size for id in ids), f"encode({text!r}) has an id outside 0 to {made.size - 1}")
        expect(not {*ids} & {*made.special}, f"encode({text!r}) has a special id: no text may spell one")
    bounds = (*made.start, *made.end, *made.special, *(() if made.mask is None else (made.mask,)))
    expect(all(0 <= id < made.size for id in bounds), f"a special id of {bounds} is outside 0 to {made.size - 1}")


def decodes_what_it_encoded(checked: CheckedPart) -> None:
    """A text that was decoded encodes to the same ids again."""
    made = _fitted(checked)
    for text in TEXTS[:3]:
        ids = made.encode(text)
        expect(bool(ids), f"encode({text!r}) returns no id")
        expect(isinstance(made.decode(ids), str), f"decode returns {made.decode(ids)!r}, not a text")
        expect(made.encode(made.decode(ids)) == ids, f"{text!r} has other ids after decode")


def restores_from_its_state(checked: CheckedPart) -> None:
    """`state` is plain JSON, and a new tokenizer that loads it gives the same ids."""
    made, restored = _fitted(checked), checked.build()
    restored.load_state(json.loads(json.dumps(made.state())))
    expect(restored.is_fitted, "it is not fitted after load_state")
    expect(_ids(restored) == _ids(made), "a tokenizer that was restored from its state gives other ids")


def is_the_same_in_every_process(checked: CheckedPart) -> None:
    """Another process that fits it to the same texts gets the same ids: none comes of `hash()` or a set."""
    there = in_another_process(_ids_of, checked.alone())
    expect(_ids_of(checked) == there, "another process gives other ids: sort what comes out of a set or a count")


def _fitted(checked: CheckedPart) -> Tokenizer:
    made: Tokenizer = checked.build()
    if not made.is_fitted:
        made.fit(iter(TEXTS))
    expect(made.is_fitted, "it is not fitted after fit")
    return made


def _ids(made: Tokenizer) -> list[list[int]]:
    return [made.encode(text) for text in TEXTS]


def _ids_of(checked: CheckedPart) -> list[list[int]]:
    return _ids(_fitted(checked))


CHECKS = (
    gives_ids_below_its_size,
    decodes_what_it_encoded,
    restores_from_its_state,
    is_the_same_in_every_process,
)
