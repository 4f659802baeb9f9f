"""A training with cached gradients goes where one with whole batches goes."""

import pytest
import torch
from torch import nn

import sensorium
from tests import toys
from tests.integration.test_resume import digest, run


def recipe(**train):
    return toys.pair_recipe(train={"steps": 6, "accelerator": "cpu", **train}, optimizer={"name": "sgd", "lr": 0.1})


CACHED = {"accumulate": 4, "gradient_cache": True}


def trained(folder, **train):
    model = sensorium.fit(
        recipe(**train), source=toys.vectors(missing=0.3), run_dir=folder, extensions=toys.extensions()
    )
    return model.learner.state_dict()


def test_a_training_ends_where_one_with_whole_batches_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(nn.BatchNorm1d, "forward", lambda self, x_ND: x_ND)  # it would see a part at a time
    whole, cached = trained(tmp_path / "whole"), trained(tmp_path / "cached", **CACHED)
    apart = trained(tmp_path / "apart", accumulate=4)
    assert all(torch.allclose(cached[name], w, rtol=1e-5, atol=1e-6) for name, w in whole.items())
    assert not all(torch.allclose(apart[name], w, rtol=1e-3, atol=1e-4) for name, w in whole.items())


@pytest.mark.slow
def test_ranks_resume_bit_equal(tmp_path):
    ddp = recipe(**CACHED | {"accumulate": 2}, devices=2)
    whole = digest(run(recipe=ddp, run_dir=str(tmp_path / "ddp")))
    assert run(recipe=ddp, run_dir=str(tmp_path / "run"), term_at=3).returncode == 143
    assert digest(run(recipe=ddp, resume=str(tmp_path / "run"))) == whole
