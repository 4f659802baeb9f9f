"""`torch.compile` traces a sum of objectives whole: once, and once more when a term sets in."""

import pytest
import torch

from sensorium.seeding import seed_globals
from sensorium.testing.synthetic import ToyEncoder
from tests.core.blocks.sums import NormedEncoder, Term, learner_of, part, views_of


@pytest.mark.parametrize("encoder", [ToyEncoder, NormedEncoder])
def test_a_sum_is_traced_whole_and_once_until_a_term_starts(encoder):
    terms = [
        Term(part("clip"), views={"a": [0]}),
        Term(part("simclr"), on="a", views=[0, 1]),
        Term(part("byol"), on="a", views=[1, 0], start=0.5),
    ]
    learner = learner_of(terms, encoder)
    for objective in learner.objective.parts.values():
        objective._forward_pre_hooks.clear()
    torch._dynamo.reset()
    compiled = torch.compile(learner, fullgraph=True, backend="eager")
    for step in range(6):
        with torch.compiler.set_stance("default" if step in (0, 3) else "fail_on_recompile"):
            seed_globals("compiled", step)
            outcome = compiled(views_of(a=2, seed=step))
            outcome.loss.backward()
        assert ("byol/loss" in outcome.logs) == (step >= 3)
        assert "clip/gradient" not in outcome.logs  # a graph's logs are made before its backward pass
        learner.objective.after_step((step + 1) / 6)
