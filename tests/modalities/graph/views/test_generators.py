import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.views import generators as views
from tests.modalities.graph.graphs import consistent, fitted, ring, sample_batch


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_augment_draws_a_kind_for_every_graph():
    modality = fitted([ring(10)])
    batch = modality.collate([modality.decode(ring(10)) for _ in range(300)])
    one, other = views.Augment(modality, ratio=0.5)(batch, rng())
    for view in (one, other):
        consistent(view.batch)
        assert len(view) == 300
    dropped_B = ~one.info["kept_nodes"].all(1)
    masked_B = one.info["masked_nodes"].any(1)
    perturbed_B = ~one.info["kept_edges"].all(1) & ~dropped_B
    kinds = torch.stack([dropped_B, masked_B, perturbed_B])
    assert kinds.sum(0).max() == 1
    for fraction, expected in zip(kinds.float().mean(1).tolist(), (0.5, 0.25, 0.25), strict=True):
        assert abs(fraction - expected) < 0.1
    assert not torch.equal(one.info["masked_nodes"], other.info["masked_nodes"])


def test_augment_puts_graphs_back_in_order():
    modality = fitted([ring(20)])
    batch = modality.collate([modality.decode(ring(size)) for size in range(3, 20)])
    for view in views.Augment(modality, kinds=("feature-masking", "edge-perturbation", "none"), ratio=0.3)(
        batch, rng()
    ):
        assert view.batch.sizes.tolist() == batch.sizes.tolist()


def test_attribute_masking_masks_its_targets():
    modality = fitted()
    batch = sample_batch(modality)
    (view,) = views.AttributeMasking(modality, 0.3)(batch, rng())
    masked_BT = view.info["masked_nodes"]
    assert masked_BT.any(1).all()
    assert torch.equal(view.target != -100, masked_BT)
    assert torch.equal(view.target[masked_BT], batch.padded(batch.x[:, 0])[0][masked_BT])
    assert (view.batch.padded(view.batch.x)[0][masked_BT] == torch.tensor(modality.schema.node_categories)).all()
    assert not view.batch.padded(view.batch.values)[0][masked_BT].any()


def test_attribute_masking_needs_categorical_features():
    modality = fitted([Graph(torch.tensor([[0], [1]]), values=torch.rand(2, 1))])
    batch = modality.collate([modality.decode(Graph(torch.tensor([[0], [1]]), values=torch.rand(2, 1)))])
    with pytest.raises(RecipeError, match="need categorical node features"):
        views.AttributeMasking(modality)(batch, rng())


@pytest.mark.parametrize("within_graph", [True, False])
def test_feature_shuffling_permutes_node_features(within_graph):
    modality = fitted()
    batch = sample_batch(modality)
    real, corrupted = views.FeatureShuffling(modality, within_graph)(batch, rng())
    assert (real.target.tolist(), corrupted.target.tolist()) == ([1] * 6, [0] * 6)
    assert torch.equal(corrupted.batch.edge_index, batch.edge_index)
    assert not torch.equal(corrupted.batch.values, batch.values)
    assert torch.equal(corrupted.batch.values.sort(0).values, batch.values.sort(0).values)
    sums = [torch.zeros(6, 3).index_add(0, b.graph_index, b.values) for b in (batch, corrupted.batch)]
    assert torch.allclose(*sums, atol=1e-5) == within_graph


def test_grace_keeps_every_node():
    modality = fitted()
    batch = sample_batch(modality)
    for view in views.Grace(modality)(batch, rng()):
        assert view.info["kept_nodes"].sum(1).tolist() == batch.sizes.tolist()
        assert view.batch.edge_index.shape[1] < batch.edge_index.shape[1]


def test_the_first_view_of_ppr_diffusion_is_the_graph():
    modality = fitted()
    batch = sample_batch(modality)
    one, other = views.PPRDiffusion(modality)(batch, rng())
    assert one.batch is batch
    assert not other.info["kept_edges"].any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda m: views.NodeDropping(m, 1.5), "between 0 and 1, not 1.5"),
        (lambda m: views.Augment(m, kinds=("subgraph", "unknown")), "not unknown"),
        (lambda m: views.EgoNet(m, -1), "'hops' of the views 'ego-net' must be at least 0"),
        (lambda m: views.PPRDiffusion(m, alpha=0.0), "'alpha' of the views 'ppr-diffusion'"),
        (lambda m: views.ContextGraph(m, hops=2, r1=3, r2=5), "r1 <= hops"),
    ],
)
def test_invalid_options_are_refused(make, sentence):
    with pytest.raises(RecipeError, match=sentence):
        make(fitted())
