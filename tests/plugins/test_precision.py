"""Under bf16 autocast every objective computes its loss, and keeps its state, in fp32."""

import pytest
import torch

from sensorium.seeding import seed_globals
from tests.golden.pairs import Unserved, learner_and_views, modalities, objective_class, objectives

NEAR = 0.05
"""Of a loss in bf16 to the one in fp32, relative, with 0.05 more absolute."""


def pair(objective):
    """Return the first modalities that an objective can be tried on, its learner and the views of a step."""
    many = objective_class(objective)[0].needs.is_crossmodal
    for name in ("timeseries", "text", *modalities()):
        names = ("text", "timeseries") if many else (name,)
        try:
            return learner_and_views(objective, names)
        except Unserved:
            continue
    raise AssertionError(f"no modality for {objective}")


@pytest.mark.parametrize("objective", objectives())
def test_losses_and_states_are_in_fp32(objective):
    learner, views = pair(objective)
    seed_globals("precision", 0)
    full = learner(views(0)).loss.detach()
    learner, views = pair(objective)
    for step in range(2):
        seed_globals("precision", step)
        with torch.autocast("cpu", torch.bfloat16):
            outcome = learner(views(step))
        assert outcome.loss.dtype == torch.float32
        if step == 0:
            torch.testing.assert_close(outcome.loss, full, rtol=NEAR, atol=0.05)
        outcome.loss.backward()
        learner.objective.after_step(0.5)
    state = {n: x for n, x in learner.state_dict(keep_vars=True).items() if x.is_floating_point()}
    assert {x.dtype for x in state.values()} == {torch.float32}
    assert {x.grad.dtype for x in state.values() if x.grad is not None} == {torch.float32}
    assert all(x.isfinite().all() for x in state.values())
    assert all(x.dtype == torch.float32 for x in outcome.logs.values() if x.is_floating_point())
