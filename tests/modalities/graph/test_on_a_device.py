"""Graphs on an emulated device under autocast: nothing is on another device, and almost nothing waits."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from sensorium import to_device
from sensorium.modalities.graph import VIEWS
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import generator
from sensorium.testing.emulation import Emulation, emulated_device, table
from sensorium.testing.equality import same
from tests.modalities.graph.encoders.test_encoders import made
from tests.modalities.graph.graphs import fitted, ring, sample_batch

ENCODERS, POOLS = ("gin", "gine", "gcn", "gat", "dmpnn", "gps"), ("sum", "mean", "max", "attention", "first")


@contextmanager
def on_a_device(*modules, waits=0):
    """Move modules to a device; count what waits for it within, under autocast."""
    with Emulation() as emulation, torch.autocast(emulated_device().type, torch.bfloat16):
        for module in modules:
            module.to(emulated_device())
        emulation.synchronizations.clear()
        yield emulated_device()
    found = emulation.synchronizations
    assert len(found) <= waits, table(found)


def trained(encoder, batch):
    """Encode and propagate back; return the features."""
    features = encoder(batch)
    (features.pooled.float().square().sum() + features.tokens.float().square().sum()).backward()
    return features


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_trains_without_waiting(name, pool):
    encoder = made(name, pool=pool, jk="cat").train()
    with on_a_device(encoder) as device:
        features = trained(encoder, sample_batch().to(device))
    assert features.pooled.dtype == torch.float32, "pooled in bf16"
    assert all(p.grad is not None and p.grad.cpu().isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("kind", ["random-walk", "laplacian"])
def test_a_positional_encoding_does_not_wait(kind):
    modality = fitted([ring(9)])
    batch = modality.collate([modality.decode(ring(size)) for size in (5, 130, 1)])
    encoder = made("gin", modality=modality, positional_encoding=kind).train()
    with on_a_device(encoder) as device:
        there = batch.to(device)
        trained(encoder, GraphBatch.cat([there, there]))


@pytest.mark.parametrize("name", ENCODERS)
def test_encoding_kept_nodes_waits_once(name):
    encoder, keep = made(name, positional_encoding="none").train(), torch.tensor([[7, 1, 3], [8, 5, 2]])
    with on_a_device(encoder, waits=1) as device:
        tokens = encoder.tokenize(sample_batch().select(torch.tensor([5, 4])).to(device))
        features = encoder.encode_tokens(tokens, *to_device([keep], device))
        features.pooled.float().sum().backward()


@pytest.mark.parametrize("modality", ["graph", "molecule"])
def test_views_are_those_of_the_host_and_wait_for_nothing(modality):
    """A diffusion is computed on the device, and fetched once."""
    extensions = load_extensions({}, [])
    raws = list(extensions.declared("sensorium_samples")[modality])
    part = fitted() if modality == "graph" else extensions.registry.find("modalities", "molecule").load()(motifs=True)
    batch = part.collate([part.decode(raw) for raw in raws])
    found = [spec for spec in extensions.registry.specs("views") if spec.modality == modality]
    assert len(found) >= len(VIEWS)
    for spec in found:
        views = spec.load()(part)
        expected = views(batch, generator("views"))
        with on_a_device(waits=int(spec.name == "ppr-diffusion")) as device:
            # The generator is that of the host, so that draws can be compared.
            there = views(batch.to(device), generator("views"))
            assert all(x.device == device for view in there for x in view.batch.tensors().values()), spec.name
        for view, twin in zip(there, expected, strict=True):
            extra = (view.target, *view.info.values()), (twin.target, *twin.info.values())
            here = [[None if x is None else x.cpu() for x in part] for part in extra]
            assert same([view.batch.to("cpu"), here[0]], [twin.batch, here[1]]), spec.name


def test_a_batch_that_came_from_the_host_is_known_there():
    batch = sample_batch()
    with on_a_device() as device:
        there = batch.to(device)
        assert there.host is there.to("cpu") is batch
        assert there.to(device) is there.pin_memory() is there
        joined, rows = GraphBatch.cat([there, there]), torch.tensor([3, 0])
        assert same(joined.host, GraphBatch.cat([batch, batch]))
        assert same(there.select(rows).host, batch.select(rows))
        assert same(list(there.graphs()), list(batch.graphs()))
        assert there.shape_key() == batch.shape_key()


def test_a_batch_that_was_made_on_the_device_is_copied_back():
    batch = sample_batch()
    with on_a_device(waits=5) as device:
        there = batch.to(device)
        assert torch.equal(replace(there, x=there.x + 1).host.x, batch.x + 1)
