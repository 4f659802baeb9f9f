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
    one, other = views.Augment(modality, share=0.5)(batch, rng())
    for view in (one, other):
        consistent(view.batch)
        assert len(view) == 300
    lost_B = ~one.info["nodes"].all(1)
    hidden_B = one.info["masked_attributes"].any(1)
    parted_B = ~one.info["edges"].all(1) & ~lost_B
    kinds = torch.stack([lost_B, hidden_B, parted_B])
    assert kinds.sum(0).max() == 1
    for share, wanted in zip(kinds.float().mean(1).tolist(), (0.5, 0.25, 0.25), strict=True):
        assert abs(share - wanted) < 0.1
    assert not torch.equal(one.info["masked_attributes"], other.info["masked_attributes"])


def test_augment_puts_graphs_back_in_order():
    modality = fitted([ring(20)])
    batch = modality.collate([modality.decode(ring(size)) for size in range(3, 20)])
    for view in views.Augment(modality, kinds=("feature-mask", "edges", "none"), share=0.3)(batch, rng()):
        assert torch.equal(view.batch.sizes, batch.sizes)


def test_attribute_mask_tells_what_it_hides():
    modality = fitted()
    batch = sample_batch(modality)
    (view,) = views.AttributeMask(modality, 0.3)(batch, rng())
    hidden_BT = view.info["masked_attributes"]
    assert hidden_BT.any(1).all()
    assert torch.equal(view.target != -100, hidden_BT)
    assert torch.equal(view.target[hidden_BT], batch.padded(batch.x[:, 0])[0][hidden_BT])
    assert (view.batch.padded(view.batch.x)[0][hidden_BT] == torch.tensor(modality.schema.nodes)).all()
    assert not view.batch.padded(view.batch.values)[0][hidden_BT].any()


def test_attribute_mask_needs_classes():
    modality = fitted([Graph(torch.tensor([[0], [1]]), values=torch.rand(2, 1))])
    batch = modality.collate([modality.decode(Graph(torch.tensor([[0], [1]]), values=torch.rand(2, 1)))])
    with pytest.raises(RecipeError, match="numbers alone"):
        views.AttributeMask(modality)(batch, rng())


@pytest.mark.parametrize("within", [True, False])
def test_shuffled_nodes_swap_what_they_carry(within):
    modality = fitted()
    batch = sample_batch(modality)
    real, other = views.Shuffled(modality, within)(batch, rng())
    assert (real.target.tolist(), other.target.tolist()) == ([1] * 6, [0] * 6)
    assert torch.equal(other.batch.edge_index, batch.edge_index)
    assert not torch.equal(other.batch.values, batch.values)
    assert torch.equal(other.batch.values.sort(0).values, batch.values.sort(0).values)
    sums = [torch.zeros(6, 3).index_add(0, b.graph, b.values) for b in (batch, other.batch)]
    assert torch.allclose(*sums, atol=1e-5) == within


def test_edges_and_features_keep_every_node():
    modality = fitted()
    batch = sample_batch(modality)
    for view in views.EdgesAndFeatures(modality)(batch, rng()):
        assert view.info["nodes"].sum(1).tolist() == batch.sizes.tolist()
        assert view.batch.edge_index.shape[1] < batch.edge_index.shape[1]


def test_diffusion_leaves_the_first_view_alone():
    modality = fitted()
    batch = sample_batch(modality)
    one, other = views.Diffusion(modality)(batch, rng())
    assert one.batch is batch
    assert not other.info["edges"].any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda m: views.NodeDrop(m, 1.5), "share from 0 to 1"),
        (lambda m: views.Augment(m, kinds=("walk", "fly")), "not fly"),
        (lambda m: views.Hops(m, -1), "0 or more"),
        (lambda m: views.Diffusion(m, restart=0.0), "restart"),
        (lambda m: views.Surroundings(m, near=2, ring=(3, 5)), "ring start"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(RecipeError, match=sentence):
        make(fitted())
