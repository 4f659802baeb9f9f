"""Drawings of graphs and their views: nodes keep their places."""

import numpy as np
import pytest
import torch

from sensorium import View
from sensorium.modalities.graph.draw import ADDED, FAINT, GRAY
from sensorium.modalities.graph.traced import traced
from sensorium.modalities.graph.views.generators import (
    AttributeMasking,
    Augment,
    ContextGraph,
    EdgePerturbation,
    EgoNet,
    FeatureMasking,
    NodeDropping,
    PPRDiffusion,
    Subgraph,
)
from tests.modalities.graph.graphs import fitted, ring, sample_batch


def rng():
    return torch.Generator().manual_seed(0)


def batch_and_modality(*graphs):
    modality = fitted(graphs)
    return modality.collate([modality.decode(graph) for graph in graphs]), modality


def has(image, color):
    return (np.asarray(image) == color).all(-1).any()


@pytest.mark.parametrize("views", [NodeDropping, Subgraph, EgoNet, ContextGraph, Augment, PPRDiffusion])
def test_the_nodes_of_a_view_are_found_in_the_original(views):
    modality = fitted()
    batch = sample_batch(modality)
    for view in views(modality)(batch, rng()):
        for row, (original, graph) in enumerate(zip(batch.graphs(), view.batch.graphs(), strict=True)):
            trace = traced(original, view, row, graph)
            kept_M = ~trace.masked_M
            assert torch.equal(original.values[trace.node_M][kept_M], graph.values[kept_M])


def test_what_a_view_lacks_is_faint_and_the_rest_stays_in_place():
    batch, modality = batch_and_modality(ring(8))
    whole = np.asarray(modality.preview(modality.examples(batch)[0])).astype(int)
    ((image,), _) = modality.preview_views(batch, NodeDropping(modality, 0.4)(batch, rng()))
    assert has(image, FAINT)
    assert not has(image, ADDED)
    drawn = np.asarray(image).astype(int)
    kept = (drawn != 255).any(-1) & (drawn != FAINT).any(-1)
    assert kept.sum() > 100
    assert (drawn == whole)[kept].mean() > 0.97, "but for nodes over the ends of edges that are now faint"


def test_added_edges_and_masked_nodes_are_marked():
    batch, modality = batch_and_modality(ring(12))
    ((image,), _) = modality.preview_views(batch, EdgePerturbation(modality, 0.0, 0.5)(batch, rng()))
    assert has(image, ADDED)
    assert has(image, GRAY)
    for views in (FeatureMasking(modality, 0.5), AttributeMasking(modality, 0.5)):
        masked = views(batch, rng())[:1]
        ((image,),) = modality.preview_views(batch, masked)
        unmasked = View(masked[0].batch, info={})
        ((plain,),) = modality.preview_views(batch, [unmasked])
        assert np.asarray(image).sum() != np.asarray(plain).sum()


def test_a_view_whose_nodes_nobody_tells_is_drawn_by_itself():
    batch, modality = batch_and_modality(ring(8))
    smaller = NodeDropping(modality, 0.4)(batch, rng())[0].batch
    ((image,),) = modality.preview_views(batch, [View(smaller)])
    assert np.array_equal(image, modality.preview(modality.examples(smaller)[0]))
