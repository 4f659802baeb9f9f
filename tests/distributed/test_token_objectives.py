"""Objectives over tokens on two and four ranks: value and gradients are those of the joined batch."""

from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from sensorium import batch_norm
from sensorium.plugins.infomax.infograph import InfoGraph
from sensorium.plugins.masked.data2vec import Data2Vec
from sensorium.plugins.masked.graphmae import GraphMAE
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.masked_clusters import MaskedClusters
from sensorium.plugins.masked.online_clusters import Online
from sensorium.plugins.masked.simmim import SimMIM
from sensorium.plugins.masked.wav2vec2 import Wav2Vec2
from sensorium.plugins.predictive.jepa import JEPA
from sensorium.plugins.predictive.next_embedding import NextEmbedding
from sensorium.plugins.pretext.masked_token import MaskedToken
from sensorium.plugins.pretext.next_token import NextToken
from sensorium.plugins.pretext.predict import Predict
from tests.distributed.ranks import on_ranks
from tests.plugins.toy_token_modality import CHANNELS, LENGTH, learner_of, sequences, view_of

SMALL = {"width": 16, "depth": 1, "heads": 2}
OBJECTIVES = {
    "mae": lambda: MAE(**SMALL),
    "simmim": SimMIM,
    "data2vec": Data2Vec,
    "graphmae": lambda: GraphMAE(width=16, heads=2),
    "infograph": InfoGraph,
    "masked-token": MaskedToken,
    "predict": lambda: Predict(classes=CHANNELS),
    "next-token": NextToken,
    "next-embedding": NextEmbedding,
    "next-embedding-sigreg": lambda: NextEmbedding("sigreg", 0.5, directions=8, width=16, dim=8),
    "jepa": lambda: JEPA(**SMALL),
    "best-rq": lambda: MaskedClusters(clusters=6),
    "hubert": lambda: MaskedClusters("k-means", clusters=6),
    "capi": lambda: MaskedClusters("online", clusters=6, online=Online(bins=3)),
    "wav2vec2": lambda: Wav2Vec2(distractors=6, codebook_size=5, dim=8),
}
LENGTHS, CUTS = (12, 7, 2, 9, 5), {1: [5], 2: [4, 1], 4: [2, 1, 1, 1]}


def view(name, start, stop):
    """Some of five records, the tokens that are masked given; each rank has another number of them."""
    batch, rows = sequences(LENGTHS, dtype=torch.float64), torch.arange(start, stop)
    mask_BT = (torch.rand(5, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.5) & batch.mask
    mask_BT[:, 0], mask_BT[:, 1] = True, False
    if name == "masked-token":
        return view_of(batch.select(rows), target=batch.x.argmax(2).masked_fill(~mask_BT, -100)[rows])
    if name == "predict":
        return view_of(batch.select(rows), target=torch.arange(5)[rows] % CHANNELS)
    return view_of(batch.select(rows), info={"masked": mask_BT[rows]})


def results(name, start, stop):
    """Return the loss and the gradients of some of the records."""
    learner = learner_of(OBJECTIVES[name](), classes=name == "masked-token", causal=name.startswith("next"))
    learner.double().train()
    batch_norm.synchronize(learner)
    if learner.objective.fits:
        torch.manual_seed(0)
        learner.fit([[view(name, 0, len(LENGTHS))]])
    if name == "wav2vec2":
        learner.objective.quantizer.eval()  # no Gumbel noise, which is drawn for each masked token
    seen = view(name, start, stop)
    with draws_of(start, stop):
        loss = learner({"toy": [seen]}).loss
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in learner.named_parameters() if p.requires_grad}


@contextmanager
def draws_of(start, stop):
    """Let each record have its own draws, whatever rank it is on: blocks of JEPA, distractors of wav2vec 2.0."""
    draw, rng = torch.rand, torch.Generator().manual_seed(2)

    def rand(*shape, **_):
        return draw(len(LENGTHS), LENGTH, *shape[2:], generator=rng)[start:stop, : shape[1]]

    with mock.patch.multiple(torch, rand=rand, rand_like=lambda like, **_: rand(*like.shape)):
        yield


def one_rank(rank, world):
    start = sum(CUTS[world][:rank])
    return {name: results(name, start, start + CUTS[world][rank]) for name in OBJECTIVES}


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory):
    return on_ranks(request.param, one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_ranks_are_one_process_with_the_joined_batch(name, ranks):
    loss, gradients = results(name, 0, 5)
    found = [rank[name] for rank in ranks]
    torch.testing.assert_close(torch.stack([value for value, _ in found]).mean(), loss, rtol=1e-9, atol=1e-12)
    assert any(gradient.abs().sum() > 0 for gradient in gradients.values())
    for key, whole in gradients.items():
        averaged = torch.stack([of_rank[key] for _, of_rank in found]).mean(0)  # what data-parallel training takes
        torch.testing.assert_close(averaged, whole, rtol=1e-7, atol=1e-11, msg=lambda m, k=key: f"{k}: {m}")
    # The negative control: what a rank's own records have to say is another number.
    alone = results(name, 0, len(LENGTHS) // 2)[0]
    assert not torch.allclose(alone, loss, rtol=1e-3)
