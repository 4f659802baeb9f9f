"""View generators are traced whole by `torch.compile`, and not once more for another batch of the same shapes.

A generator of random numbers cannot be passed to a compiled function: compiled views draw from the global one.
"""

import pytest
import torch

from tests.emulation.test_views_and_encoders import made, parts
from tests.golden.pairs import fitted

DRAWN_SHAPES = {"overlapping-crops"}
"""Views whose shapes are drawn anew for every batch, as their paper has it: each would be compiled for itself."""
BATCHES = 5


def compiled_parts():
    """Return view generators with all that they can do: what they do by default is a part of that."""
    found = {(modality, name): changed for modality, name, changed in parts("views", ("audio", "image", "timeseries"))}
    return [(*part, changed) for part, changed in found.items() if part[1] not in DRAWN_SHAPES]


@pytest.mark.parametrize(("modality", "name", "changed"), compiled_parts())
def test_views_are_traced_whole_and_once(modality, name, changed):
    views, batch = made("views", modality, name, changed), fitted(modality)[1]
    torch._dynamo.reset()
    compiled = torch.compile(lambda records: views(records, None), fullgraph=True, backend="eager")
    expected = [(type(view.batch), sorted(view.info)) for view in views(batch, torch.Generator())]
    for turn in range(1 + BATCHES):
        with torch._dynamo.config.patch(error_on_recompile=turn > 0):
            found = compiled(batch.select(torch.randperm(len(batch))))
    assert [(type(view.batch), sorted(view.info)) for view in found] == expected
