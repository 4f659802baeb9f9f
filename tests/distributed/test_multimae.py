"""MultiMAE on two ranks, of which one may have no record with a modality: value and gradients of the joined batch."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch

from sensorium import View
from sensorium.models.learner import Learner
from sensorium.plugins.masked.multimae import MultiMAE
from tests.distributed.ranks import on_ranks
from tests.plugins.toy_token_modality import LENGTH, SequenceEncoder, sequences

SMALL = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1}
LENGTHS, CUTS = (12, 7, 2, 9, 5), (3, 2)
HAS_WORDS = {
    "both": [True, False, True, True, False],
    "the first": [True, False, True, False, False],
    "none": [False] * 5,
}


def views(case, start, stop):
    """Waves of some of five records, and words of those that have them."""
    has = np.array(HAS_WORDS[case])
    batch = sequences(LENGTHS, dtype=torch.float64)
    rows = torch.tensor([at for at in range(start, stop) if has[at]], dtype=torch.int64)
    waves = View(batch.select(torch.arange(start, stop)), modality="waves")
    return {"waves": [waves], "words": [View(batch.select(rows), modality="words", present=has[start:stop])]}


def results(case, start, stop, is_drawn):
    """Return the loss and the gradients on some of the records, with masks drawn or given by the views."""
    torch.manual_seed(0)
    learner = Learner(
        {n: SequenceEncoder(classes=n == "words") for n in ("waves", "words")}, MultiMAE(**SMALL)
    ).double()
    made = views(case, start, stop)
    if not is_drawn:
        masked = torch.rand(5, LENGTH, generator=torch.Generator().manual_seed(3)) < 0.5
        has = torch.tensor(HAS_WORDS[case])
        given = {"waves": masked[start:stop], "words": masked.flip(1)[start:stop][has[start:stop]]}
        made = {name: [replace(view, info={"masked": given[name]})] for name, (view,) in made.items()}
    draws, rng = torch.rand, torch.Generator().manual_seed(2)

    def rand_like(like, **_):
        return draws(len(LENGTHS), *like.shape[1:], generator=rng)[start:stop]

    def gamma(
        like, **_
    ):  # an exponential variate is that of a gamma distribution of shape 1; here any positive one does
        return -rand_like(like).clamp(min=1e-6).log()

    with mock.patch.multiple(torch, rand_like=rand_like, _standard_gamma=gamma):
        loss = learner(made).loss
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in learner.named_parameters()}


def one_rank(rank, world):
    start = sum(CUTS[:rank])
    return {(case, drawn): results(case, start, start + CUTS[rank], drawn) for case in HAS_WORDS for drawn in (0, 1)}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("is_drawn", [0, 1], ids=["given masks", "drawn masks"])
@pytest.mark.parametrize("case", HAS_WORDS)
def test_ranks_are_one_process_with_the_joined_batch(case, is_drawn, ranks):
    loss, gradients = results(case, 0, 5, is_drawn)
    found = [rank[case, is_drawn] for rank in ranks]
    torch.testing.assert_close(torch.stack([value for value, _ in found]).mean(), loss, rtol=1e-9, atol=1e-12)
    for name, whole in gradients.items():
        averaged = torch.stack([of_rank[name] for _, of_rank in found]).mean(0)
        torch.testing.assert_close(averaged, whole, rtol=1e-7, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}")
    alone = results(case, 0, 3, is_drawn)[0]
    assert not torch.allclose(alone, loss, rtol=1e-3), "a rank's own records say something else"
