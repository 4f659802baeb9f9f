"""Encoders with a `causal` option: what a token is does not depend on how it is asked for."""

from dataclasses import replace

import pytest
import torch

from sensorium import seeding
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import options_of

SMALL = {"width": 16, "depth": 2, "heads": 2, "dropout": 0.0}


def causal_encoders():
    """Return the names of all registered encoders with a `causal` option, each with its modality."""
    registry = load_extensions({}, []).registry
    specs = [s for s in registry.specs("encoders") if not s.missing_packages()]
    return [(s.modality, s.name) for s in specs if "causal" in {o.name for o in options_of(s.load(), skip=1)}]


@pytest.fixture(params=causal_encoders(), ids="-".join)
def encoder_and_batch(request):
    modality_name, name = request.param
    extensions = load_extensions({}, [])
    samples = extensions.declared("sensorium_samples")[modality_name]
    modality = extensions.registry.find("modalities", modality_name).load()()
    if not modality.is_fitted:
        modality.fit(samples)
    cls = extensions.registry.find("encoders", name, modality=modality_name).load()
    known = {option.name for option in options_of(cls, skip=1)}
    seeding.seed_globals("causal")
    encoder = cls(modality, causal=True, **{k: v for k, v in SMALL.items() if k in known})
    return encoder, modality.collate([modality.decode(sample) for sample in samples[:4]])


def test_every_kind_of_sequence_has_one():
    assert {modality for modality, _ in causal_encoders()} >= {"image", "text", "audio", "timeseries"}


def test_evaluation_computes_what_training_does(encoder_and_batch):
    """Without gradients, layers of torch take other kernels, which have a causal mask of their own."""
    encoder, batch = encoder_and_batch
    trained = encoder.train()(batch)
    with torch.no_grad():
        evaluated = encoder.eval()(batch)
    torch.testing.assert_close(evaluated.tokens, trained.tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(evaluated.pooled, trained.pooled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_first_tokens_alone_are_what_they_are_among_all(encoder_and_batch):
    encoder, batch = encoder_and_batch
    tokens = encoder.eval().tokenize(batch)
    count = (tokens.x.shape[1] + 1) // 2
    index_BK = torch.arange(count).expand(len(batch), -1)
    whole, first = encoder.encode_tokens(tokens), encoder.encode_tokens(tokens.first(count))
    kept = encoder.encode_tokens(tokens, index_BK.flip(1))
    valid_BK = tokens.valid()[:, :count]
    torch.testing.assert_close(first.tokens[valid_BK], whole.tokens[:, :count][valid_BK], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kept.tokens.flip(1)[valid_BK], first.tokens[valid_BK], rtol=1e-4, atol=1e-5)
    other = replace(tokens, x=tokens.x.roll(1, 0))
    assert not torch.allclose(encoder.encode_tokens(other).tokens, whole.tokens, atol=1e-3)
