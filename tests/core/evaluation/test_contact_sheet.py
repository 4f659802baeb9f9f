"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sensorium import SensoriumError
from sensorium.evaluation.contact_sheet import CELL, HIT, RetrievedImage, contact_sheet


def solid(color, size=(64, 64)) -> Image.Image:
    return Image.new("RGB", size, color)


def count(sheet: Image.Image, color) -> int:
    return int((np.asarray(sheet) == np.array(color)).all(axis=2).sum())


def found(hit: bool) -> RetrievedImage:
    return RetrievedImage(solid((0, 0, 200)), "0.50", hit)


def test_every_picture_is_drawn_and_hits_are_framed():
    queries = [solid((200, 0, 0)), solid((200, 0, 0), (10, 40))]
    none, one, two = (
        contact_sheet(queries, [[found(h) for h in row] for row in hits], "red -> blue")
        for hits in ([[0, 0, 0], [0, 0]], [[1, 0, 0], [0, 0]], [[1, 0, 0], [0, 1]])
    )
    assert count(none, (0, 0, 200)) == 5 * CELL * CELL
    assert count(none, (200, 0, 0)) == CELL * CELL + CELL * CELL // 4
    frame = count(one, HIT) - count(none, HIT)
    assert frame > 4 * CELL
    assert count(two, HIT) - count(one, HIT) == pytest.approx(frame, rel=0.1)


def test_a_query_may_find_nothing_and_inputs_are_left_as_they_are():
    query = Image.new("L", (8, 8), 128)
    before = query.tobytes()
    sheet = contact_sheet([query], [[]], "title", captions=["a caption that is far too long for the cell it is in"])
    assert sheet.mode == "RGB"
    assert (query.mode, query.tobytes()) == ("L", before)


def test_refuses_lists_that_differ():
    with pytest.raises(SensoriumError, match="not 0 for 1"):
        contact_sheet([solid(0)], [], "title")
    with pytest.raises(SensoriumError, match="not 0 for 0"):
        contact_sheet([], [], "title")
