from dataclasses import replace

import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.transformer import Transformer, pool

KINDS = [
    {"causal": c, "pool": p}
    for c, p in [(False, "mean"), (False, "first"), (False, "end"), (True, "end"), (True, "mean")]
]


def made(modality, **options):
    torch.manual_seed(0)
    encoder = Transformer(modality, **({"width": 32, "depth": 2, "heads": 4} | options)).eval()
    for parameter in encoder.parameters():  # weights large enough that a leak would show
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    return encoder


def wider(batch, columns, fill=9):
    """The batch with columns of padding that hold garbage."""
    b = len(batch)
    ids = torch.cat([batch.ids.masked_fill(~batch.mask, fill), torch.full((b, columns), fill)], 1)
    return TextBatch(ids, torch.cat([batch.mask, torch.zeros(b, columns, dtype=torch.bool)], 1))


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_changes_no_feature(modality, batch, options, dtype):
    encoder = made(modality, **options).to(dtype)
    near = {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    with torch.no_grad():
        plain = encoder(batch)
        padded = encoder(wider(batch, modality.length - batch.ids.shape[1]))
        assert torch.allclose(plain.pooled, padded.pooled, atol=near)
        for row in range(len(batch)):
            length = int(batch.mask[row].sum())
            alone = encoder(TextBatch(batch.ids[row : row + 1, :length], batch.mask[row : row + 1, :length]))
            assert torch.allclose(alone.pooled[0], plain.pooled[row], atol=near)
            assert torch.allclose(alone.tokens[0], plain.tokens[row, :length], atol=near)
        assert plain.tokens[~batch.mask].eq(0).all()
    std = plain.pooled.float().std(0).mean()
    assert std > 4 * near or dtype == torch.bfloat16  # the texts differ, so that the comparison is meaningful


def test_padding_changes_no_feature_under_autocast(modality, batch):
    encoder = made(modality)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        plain, padded = encoder(batch), encoder(wider(batch, modality.length - batch.ids.shape[1]))
    assert plain.pooled.isfinite().all()
    assert torch.allclose(plain.pooled, padded.pooled, atol=0.05)


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_encoder_never_looks_ahead(modality, batch, causal):
    encoder = made(modality, causal=causal, pool="end")
    changed = TextBatch(batch.ids.clone(), batch.mask)
    changed.ids[:, 4] = (changed.ids[:, 4] + 1) % encoder.target_dim
    with torch.no_grad():
        one, other = encoder(batch).tokens, encoder(changed).tokens
    assert torch.allclose(one[:, :4], other[:, :4], atol=1e-6) == causal
    assert not torch.allclose(one[0, 4:], other[0, 4:], atol=1e-3)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_token_contract(modality, batch, options):
    encoder = made(modality, **options)
    with torch.no_grad():
        tokens, whole = encoder.tokenize(batch), encoder(batch)
        b, t = batch.ids.shape
        assert tokens.x.shape == (b, t, encoder.dim)
        assert tokens.positions.shape == (1, t, encoder.dim)
        assert torch.equal(tokens.mask, batch.mask)
        everything = encoder.encode_tokens(tokens, torch.arange(t).expand(b, t))
        assert torch.allclose(everything.tokens, whole.tokens, atol=1e-5)
        assert torch.allclose(everything.pooled, whole.pooled, atol=1e-5)
        keep = torch.stack([torch.randperm(t, generator=torch.Generator().manual_seed(i))[:5] for i in range(b)])
        keep[:, 0] = 0
        kept = encoder.encode_tokens(tokens, keep)
        order = keep.argsort(1)
        sorted_ = encoder.encode_tokens(tokens, keep.gather(1, order))
        assert torch.equal(kept.mask, batch.mask.gather(1, keep))
        assert torch.allclose(
            kept.tokens.gather(1, order[..., None].expand(-1, -1, encoder.dim)), sorted_.tokens, atol=1e-5
        )


def test_keeping_the_front_of_a_causal_encoder_changes_nothing(modality, batch):
    encoder = made(modality, causal=True, pool="end")
    with torch.no_grad():
        front = encoder.encode_tokens(encoder.tokenize(batch), torch.arange(3).expand(len(batch), 3))
        assert torch.allclose(front.tokens, encoder(batch).tokens[:, :3], atol=1e-5)


def test_places_count(modality, batch):
    encoder = made(modality)
    tokens = encoder.tokenize(batch)
    with torch.no_grad():
        still = encoder.encode_tokens(tokens).pooled
        moved = encoder.encode_tokens(replace(tokens, positions=tokens.positions.flip(1))).pooled
    assert (still - moved).abs().amax(1).min() > 1e-3


def test_targets_are_the_ids(modality, batch):
    encoder = made(modality)
    assert torch.equal(encoder.token_targets(batch), batch.ids)
    assert encoder.target_dim == modality.tokenizer.size


def test_pools_are_what_they_say():
    tokens = torch.arange(12.0).reshape(1, 4, 3)
    mask = torch.tensor([[True, True, True, False]])
    assert pool(tokens, mask, "mean").tolist() == [[3.0, 4.0, 5.0]]
    assert pool(tokens, mask, "end").tolist() == [[6.0, 7.0, 8.0]]
    assert pool(tokens, mask, "first").tolist() == [[0.0, 1.0, 2.0]]
    assert pool(tokens, None, "end").tolist() == [[9.0, 10.0, 11.0]]
    assert pool(tokens, None, "mean").tolist() == [[4.5, 5.5, 6.5]]


@pytest.mark.parametrize("how", ["mean", "end", "first"])
@pytest.mark.parametrize("padded", [True, False])
def test_pools_are_in_fp32_under_autocast(how, padded):
    tokens = (1 + torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0))).bfloat16()
    mask = torch.arange(500) < torch.tensor([[300], [500]]) if padded else None
    with torch.autocast("cpu", torch.bfloat16):
        found = pool(tokens, mask, how)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), pool(tokens.double(), mask, how), rtol=1e-6, atol=1e-6)


def test_dropout_tells_copies_apart_in_training_alone(modality, batch):
    encoder = made(modality, dropout=0.1)
    both = TextBatch.cat([batch, batch])
    one, other = encoder(both).pooled.chunk(2)
    assert torch.allclose(one, other, atol=1e-6)
    one, other = encoder.train()(both).pooled.chunk(2)
    assert (one - other).abs().amax(1).min() > 1e-3


def test_weights_start_as_in_gpt2(modality):
    encoder = Transformer(modality, width=128, depth=8)
    assert abs(encoder.embed.weight.std() - 0.02) < 0.002
    assert abs(encoder.blocks[3].qkv.weight.std() - 0.02) < 0.002
    assert abs(encoder.blocks[3].fc2.weight.std() - 0.005) < 0.0005


@pytest.mark.parametrize(
    ("options", "message"), [({"heads": 3}, "divide"), ({"causal": True, "pool": "first"}, "only to itself")]
)
def test_invalid_options_are_refused(modality, options, message):
    with pytest.raises(RecipeError, match=message):
        Transformer(modality, **options)
