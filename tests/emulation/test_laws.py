"""What every objective does on a GPU with every modality, proven on the emulated device.

One optimizer step of every pair of the golden files, as the training loop takes it, in bf16 mixed precision: it mixes
no devices and no dtypes that CUDA refuses, its loss is finite, and the host waits for the device as rarely as the law
allows.
"""

import math

import pytest

from sensorium.testing.emulation import table
from tests.emulation.show import emulated
from tests.golden.pairs import Unserved, kept, pairs

pytestmark = pytest.mark.usefixtures("one_thread")
LIMIT, LIMIT_OF_GRAPHS = 2, 6
"""Synchronizations of a step: one reads whether it was finite; graphs may read sizes of what they make."""
EXCEPTIONS = {}
"""Pairs that may wait more often: (objective, modalities) -> how often, and why."""
SHAPES = ("depends on data", "boolean mask")


def limit(objective, names):
    """Return how often the host may wait in a step of a pair."""
    graphs = {"graph", "molecule"} & set(names)
    return EXCEPTIONS.get((objective, names), (LIMIT_OF_GRAPHS if graphs else LIMIT, ""))[0]


@pytest.mark.parametrize(
    ("objective", "names"), pairs(), ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_a_step_runs_on_a_gpu_and_seldom_waits_for_it(objective, names):
    try:
        steps = emulated(objective, names, steps=1)
        if len(steps.synchronizations[0]) > limit(objective, names):  # constants are copied to the device once
            steps = emulated(objective, names, steps=2)
    except Unserved as reason:
        if "+".join(names) in kept(objective):
            raise
        pytest.skip(str(reason))
    assert all(map(math.isfinite, steps.losses))
    found = steps.synchronizations[-1]
    assert len(found) <= limit(objective, names), table(found)
    if not {"graph", "molecule"} & set(names):
        assert [each for each in found if any(what in each.why for what in SHAPES)] == []
