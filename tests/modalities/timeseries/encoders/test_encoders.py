import pytest
import torch
import torch.nn.functional as F

from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.encoders.dilated import Dilated, SameConv1d
from sensorium.modalities.timeseries.encoders.inception import Inception
from sensorium.modalities.timeseries.encoders.patch_transformer import PatchTransformer
from tests.modalities.timeseries.series import batch_of, modality

SMALL = {
    Dilated: {"dim": 12, "width": 8, "depth": 4, "mask_ratio": 0.0, "dropout": 0.0},
    Inception: {"filters": 3, "depth": 4, "kernels": (9, 5)},
    PatchTransformer: {"patch": 4, "width": 16, "depth": 2},
}


@pytest.fixture(params=list(SMALL), ids=lambda cls: cls.__name__)
def encoder(request):
    torch.manual_seed(0)
    return request.param(modality(), **SMALL[request.param]).eval()


@torch.no_grad()
def test_features_do_not_depend_on_padding_or_other_rows(encoder):
    batch = batch_of([30, 9, 1, 17], missing=0.2)
    together = encoder(batch)
    for row, length in enumerate((30, 9, 1, 17)):
        alone = encoder(SignalBatch.join([batch.unpad()[row]]))
        torch.testing.assert_close(alone.pooled[0], together.pooled[row], rtol=1e-4, atol=1e-5)
        count = int(together.mask[row].sum())
        assert count == (-(-length // encoder.patch) if isinstance(encoder, PatchTransformer) else length)
        torch.testing.assert_close(alone.tokens[0], together.tokens[row, :count], rtol=1e-4, atol=1e-5)


def test_training_statistics_exclude_padding(encoder):
    short, long = batch_of([9, 5]), batch_of([30], seed=1)
    padded = SignalBatch.cat([short, long]).select(torch.tensor([0, 1]))
    encoder.train()
    torch.testing.assert_close(encoder(short).pooled, encoder(padded).pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 64])
def test_any_number_of_channels_and_a_single_step(encoder, channels):
    made = type(encoder)(modality(channels), **SMALL[type(encoder)]).train()
    features = made(batch_of([1, 1], channels))
    assert features.pooled.shape == (2, made.dim)
    features.pooled.square().sum().backward()
    assert all(p.grad is not None for p in made.parameters())


def test_features_are_finite_under_autocast_and_without_observed_values(encoder):
    batch = batch_of([12, 7], missing=0.5)
    batch = batch.masked(torch.tensor([True, False])[:, None, None])  # no value of the first row is observed
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = encoder.train()(batch)
    assert features.pooled.isfinite().all()
    features.pooled.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_the_receptive_field_of_dilated():
    torch.manual_seed(0)
    made = Dilated(modality(1), dim=4, width=4, depth=3, mask_ratio=0.0).eval()
    values = torch.zeros(1, 1, 200, requires_grad=True)
    batch = SignalBatch(values, torch.tensor([200]), torch.ones(1, 1, 200, dtype=torch.bool))
    made(batch).tokens[0, 100].square().sum().backward()
    seen = values.grad[0, 0].nonzero().flatten()
    reach = sum(2 * 2**i for i in range(4))  # two convolutions of kernel 3 in each of four blocks
    assert (seen.min(), seen.max()) == (100 - reach, 100 + reach)


@pytest.mark.parametrize("length", [1, 4, 5, 9, 40])
def test_skipped_taps_would_read_padding_only(length):
    torch.manual_seed(0)
    made = SameConv1d(3, 2, 5, dilation=4)
    x = torch.randn(2, 3, length)
    expected = F.conv1d(x, made.weight, made.bias, padding=8, dilation=4)
    torch.testing.assert_close(made(x), expected)
    made(x).sum().backward()
    reached = (made.weight.grad != 0).any(0).any(0)
    assert reached.sum() == 2 * min(2, (length - 1) // 4) + 1


def test_dilated_masks_steps_only_while_training():
    torch.manual_seed(0)
    made = Dilated(modality(), **SMALL[Dilated] | {"mask_ratio": 0.5})
    batch = batch_of([40])
    assert not torch.equal(made(batch).pooled, made(batch).pooled)
    made.eval()
    assert torch.equal(made(batch).pooled, made(batch).pooled)
    fractions = []
    made.blocks[0].register_forward_pre_hook(lambda _, given: fractions.append((given[0] == 0).all(1).float().mean()))
    made.train()
    for _ in range(40):
        made(batch)
    assert abs(float(torch.stack(fractions).mean()) - 0.5) < 0.05


def test_dilated_masks_steps_without_observed_values():
    torch.manual_seed(0)
    made = Dilated(modality(), **SMALL[Dilated]).eval()
    given = []
    made.blocks[0].register_forward_pre_hook(lambda _, x: given.append(x[0]))
    batch = batch_of([10])
    batch = batch.masked(
        (torch.arange(10) == 4) | ((torch.arange(10) == 6) & torch.tensor([True, False, False])[:, None])
    )
    made(batch)
    assert (given[0][0].abs().sum(0) == 0).tolist() == [step == 4 for step in range(10)]


def test_patches_are_cut_in_order():
    made = PatchTransformer(modality(), **SMALL[PatchTransformer])
    batch = batch_of([10, 3])
    targets = made.token_targets(batch)
    assert targets.shape == (2, 3, made.target_dim)
    torch.testing.assert_close(targets[0, 1].view(3, 4), batch.values[0, :, 4:8])
    assert (targets[0, 2].view(3, 4)[:, 2:] == 0).all()
    tokens = made.tokenize(batch)
    assert tokens.mask.tolist() == [[True] * 3, [True, False, False]]
    assert len({tuple(row.tolist()) for row in tokens.positions[0]}) == 3


@torch.no_grad()
def test_only_kept_patches_are_attended():
    torch.manual_seed(0)
    made = PatchTransformer(modality(), **SMALL[PatchTransformer]).eval()
    batch = batch_of([16])
    keep = torch.tensor([[2, 0]])
    changed = batch.with_values(
        torch.cat([batch.values[..., :4], batch.values[..., 4:8] + 9, batch.values[..., 8:]], 2)
    )
    one, other = (made.encode_tokens(made.tokenize(b), keep) for b in (batch, changed))
    torch.testing.assert_close(one.tokens, other.tokens)
    whole = made(batch)
    assert not torch.allclose(whole.tokens[:, [2, 0]], one.tokens)


def test_layers_of_the_transformer_are_initialized_independently():
    made = PatchTransformer(modality(), **SMALL[PatchTransformer])
    first, second = made.blocks.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Dilated, {"kernel": 4}),
        (Inception, {"kernels": (8,)}),
        (PatchTransformer, {"heads": 3}),
        (PatchTransformer, {"patch": 0}),
    ],
)
def test_options_out_of_range_are_refused(cls, options):
    with pytest.raises(RecipeError):
        cls(modality(), **options)


@torch.no_grad()
def test_a_causal_patch_attends_to_earlier_patches_only():
    torch.manual_seed(0)
    made = PatchTransformer(modality(), causal=True, **SMALL[PatchTransformer]).eval()
    batch = batch_of([24, 9])
    changed = batch.with_values(
        torch.cat([batch.values[..., :8], batch.values[..., 8:12] + 9, batch.values[..., 12:]], 2)
    )
    one, other = made(batch), made(changed)
    torch.testing.assert_close(one.tokens[:, :2], other.tokens[:, :2])
    assert not any(torch.allclose(one.tokens[0, t], other.tokens[0, t], atol=1e-5) for t in range(2, 6))
    keep = torch.tensor([[3, 1, 2], [1, 0, 2]])  # order is that of places
    one, other = (made.encode_tokens(made.tokenize(b), keep) for b in (batch, changed))
    torch.testing.assert_close(one.tokens[0, 1], other.tokens[0, 1])
    assert not torch.allclose(one.tokens[0, 0], other.tokens[0, 0], atol=1e-5)
    assert one.tokens.isfinite().all()
    looking = PatchTransformer(modality(), **SMALL[PatchTransformer]).eval()  # the negative control
    assert not torch.allclose(looking(batch).tokens[0, :2], looking(changed).tokens[0, :2], atol=1e-5)
