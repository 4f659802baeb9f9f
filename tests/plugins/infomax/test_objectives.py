import pytest
import torch

from sensorium import losses
from sensorium.errors import RecipeError
from sensorium.modalities.graph.encoders.gcn import GCN
from sensorium.modalities.graph.encoders.gin import GIN
from sensorium.modalities.graph.views import generators as views
from sensorium.modalities.image.encoders.cnn import CNN
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.samples import sample_images
from sensorium.models.learner import Learner
from sensorium.plugins.infomax.context_prediction import ContextPrediction
from sensorium.plugins.infomax.dgi import DGI
from sensorium.plugins.infomax.infograph import InfoGraph
from sensorium.types import Features, View
from tests.modalities.graph.graphs import fitted, sample_batch
from tests.plugins.toy_token_modality import learner_of, sequences, view_of


def graph_views(generator):
    modality = fitted()
    made = generator(modality)(sample_batch(modality), torch.Generator().manual_seed(0))
    for view in made:
        view.modality = "graph"
    return modality, made


def test_dgi_is_the_papers():
    """Velickovic et al. 2019, section 3: bilinear scores against the sigmoid of the mean."""
    modality, made = graph_views(views.FeatureShuffling)
    torch.manual_seed(0)
    learner = Learner({"graph": GCN(modality, width=8)}, DGI()).eval()
    real, other = (learner.encoders["graph"](view.batch).pooled for view in made)
    s, w = torch.sigmoid(real.mean(0)), learner.objective.bilinear.weight
    total = 0.0
    for i in range(6):
        total -= torch.log(torch.sigmoid(real[i] @ w @ s)) + torch.log(1 - torch.sigmoid(other[i] @ w @ s))
    torch.testing.assert_close(learner({"graph": made}).loss, total / 6, rtol=1e-4, atol=1e-5)


def test_dgi_takes_the_second_view_for_the_corruption():
    modality, made = graph_views(views.FeatureShuffling)
    torch.manual_seed(0)
    learner = Learner({"graph": GCN(modality, width=8)}, DGI()).eval()
    assert learner({"graph": made}).loss != learner({"graph": made[::-1]}).loss


def test_infograph_scores_tokens_with_records():
    learner = learner_of(InfoGraph())
    learner.eval()
    view = view_of(sequences())
    features = learner.encoders["toy"](view.batch)
    local, whole = learner.objective.local(features.tokens), learner.objective.pooled(features.pooled)
    torch.testing.assert_close(learner({"toy": [view]}).loss, losses.jensen_shannon(local, whole, features.mask))


def test_infograph_takes_an_encoder_that_masks_nothing_where_it_returns_tokens():
    """Convolutions: their tokens are local, as in Deep InfoMax."""
    modality = ImageModality(size=16)
    learner = Learner({"image": CNN(modality, width=4, depth=2)}, InfoGraph())
    batch = modality.collate([modality.decode(picture) for picture in sample_images()])
    learner({"image": [View(batch, modality="image")]}).loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in learner.encoders.parameters())


def test_an_encoder_without_tokens_is_refused():
    with pytest.raises(RecipeError, match=r"'infograph' compares tokens, and here are none.*gradient_cache"):
        Features(torch.zeros(2, 3)).require_tokens("infograph")


def test_context_prediction_reads_surroundings_by_an_encoder_of_its_own():
    modality, made = graph_views(views.ContextGraph)
    torch.manual_seed(0)
    learner = Learner({"graph": GIN(modality, width=8, depth=2)}, ContextPrediction())
    learner({"graph": made}).loss.backward()
    for encoder in (learner.encoders["graph"], learner.objective.context_encoder["graph"]):
        assert all(p.grad is not None for p in encoder.layers.parameters())
        assert any(p.grad.abs().sum() > 0 for p in encoder.layers.parameters())


@pytest.mark.parametrize("anchors", [None, [[True, False], [True, True]]])
def test_anchors_stand_for_a_view(anchors):
    features = Features(torch.tensor([[100.0], [200.0]]), torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]]))
    info = {} if anchors is None else {"anchors": torch.tensor(anchors)}
    found = ContextPrediction().pooled(View(sample_batch(), info=info), features)
    assert found.tolist() == ([[100.0], [200.0]] if anchors is None else [[1.0], [7.0]])
