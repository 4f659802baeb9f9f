"""The same objective files on graphs: a few steps on a few records lower the loss."""

import pytest
import torch

from sensorium.modalities.graph.encoders.gin import GINE
from sensorium.modalities.graph.encoders.gps import GPS
from sensorium.modalities.graph.views import generators as views
from sensorium.models.learner import Learner, make_views
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.plugins.distillation.byol import BYOL
from sensorium.plugins.infomax.context_prediction import ContextPrediction
from sensorium.plugins.infomax.dgi import DGI
from sensorium.plugins.infomax.infograph import InfoGraph
from sensorium.plugins.masked.data2vec import Data2Vec
from sensorium.plugins.masked.graphmae import GraphMAE
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.simmim import SimMIM
from sensorium.plugins.predictive.jepa import JEPA
from sensorium.plugins.pretext.masked_token import MaskedToken
from sensorium.types import RecordBatch
from tests.modalities.graph.graphs import fitted, ring
from tests.plugins.toy_token_modality import losses_while_training

SMALL = {"width": 32, "heads": 2}
OBJECTIVES = {
    "simclr": (lambda: SimCLR(width=32, dim=16), views.Augment),
    "byol": (lambda: BYOL(width=32, dim=16), views.Grace),
    "infograph": (InfoGraph, views.Plain),
    "dgi": (DGI, views.FeatureShuffling),
    "context-prediction": (ContextPrediction, views.ContextGraph),
    "graphmae": (GraphMAE, views.Plain),
    "mae": (lambda: MAE(depth=1, **SMALL), views.Plain),
    "simmim": (SimMIM, views.Plain),
    "data2vec": (lambda: Data2Vec(momentum=1.0), views.Plain),
    "jepa": (lambda: JEPA(depth=1, momentum=1.0, **SMALL), views.Plain),
    "masked-token": (MaskedToken, views.AttributeMasking),
}


@pytest.mark.parametrize("encoder", [GINE, GPS])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_few_steps_lower_the_loss(name, encoder):
    torch.manual_seed(0)
    make, generator = OBJECTIVES[name]
    raws = [ring(size) for size in (3, 4, 6, 7, 9, 12, 5, 8)]
    modality = fitted(raws)
    batch = modality.collate([modality.decode(raw) for raw in raws])
    records = RecordBatch([str(i) for i in range(8)], {"graph": batch}, {"graph": torch.ones(8, dtype=torch.bool)})
    made = make_views(records, {"graph": generator(modality)}, torch.Generator().manual_seed(0))
    network = encoder(modality, width=16, depth=2, positional_encoding="random-walk", pe_dim=4)
    found = losses_while_training(Learner({"graph": network}, make()), made, 25, 3e-3)
    assert found[-1] < 0.9 * found[0] if found[0] > 0 else found[-1] < found[0]
