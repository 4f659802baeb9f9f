"""Gradient caching on two ranks: one synchronized step has the gradient of the joined batch in one process."""

import contextlib

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sensorium.plugins.crossmodal.align import Align
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.training.gradient_cache import GradientCache
from tests.core.training.test_gradient_cache import gradients, learner_of, parts_of, plain, records, views_of
from tests.distributed.ranks import on_ranks

ROWS, CUTS, PARTS = 22, [0, 13, 22], (2, 4)
CASES = {"clip": (lambda: CLIP(dim=4), ["a", "b"]), "align": (lambda: Align(dim=4), ["a", "b", "c"])}


def data(name):
    """All records; those of 'align' have holes, and the second rank lacks one modality whole."""
    names = CASES[name][1]
    values, masks = records(names, missing=0.4 if name == "align" else 0.0, rows=ROWS)
    if name == "align":
        masks["c"][CUTS[1] :] = False
    return values, masks


def on_rank(rank, world):
    found = {}
    for name, (make, names) in CASES.items():
        values, masks = data(name)
        rows = slice(CUTS[rank], CUTS[rank + 1])
        mine = {n: v[rows] for n, v in values.items()}, {n: m[rows] for n, m in masks.items()}
        for k in PARTS:
            learner = learner_of(make(), names)
            model = DistributedDataParallel(learner)
            made = parts_of(*mine, k)
            views = views_of(made, 1)
            cache = GradientCache(views, learner, 0, "step", 0, rank)
            with model.no_sync():
                model(cache.views, cache.loss).loss.backward()
            for i, of_part in enumerate(views):
                with model.no_sync() if i < k - 1 else contextlib.nullcontext():
                    model(of_part, cache.replay(i)).loss.backward()
            found[name, k] = gradients(learner)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, on_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("k", PARTS)
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_one_process_with_the_joined_batch(name, k, ranks):
    make, names = CASES[name]
    learner = learner_of(make(), names)
    plain(learner, *data(name), 1)
    for key, whole in gradients(learner).items():
        for rank in ranks:
            torch.testing.assert_close(
                rank[name, k][key], whole, rtol=1e-9, atol=1e-10, msg=lambda m, k=key: f"{k}: {m}"
            )
