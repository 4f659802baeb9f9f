from dataclasses import replace

import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.audio.encoders.conv import Conv
from sensorium.modalities.audio.encoders.spectrogram_transformer import SpectrogramTransformer
from sensorium.modalities.audio.encoders.wav2vec2 import Wav2Vec2Encoder
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_parts
from tests.modalities.audio.clips import batch_of, modality

KINDS = {
    "conv": (Conv, {"width": 6, "dim": 12, "dropout": 0.0}),
    "conv-stride": (Conv, {"width": 6, "dim": 12, "dropout": 0.0, "downsample": "stride", "parts": 3}),
    "transformer": (SpectrogramTransformer, {"patch": (8, 2), "width": 16, "heads": 2, "depth": 2}),
    "transformer-parts": (SpectrogramTransformer, {"patch": (16, 2), "width": 16, "heads": 2, "depth": 1, "parts": 3}),
    "transformer-causal": (
        SpectrogramTransformer,
        {"patch": (8, 2), "width": 16, "heads": 2, "depth": 2, "causal": True},
    ),
    "wav2vec2": (Wav2Vec2Encoder, {"width": 16, "heads": 2, "depth": 2, "features": 8}),
}
LENGTHS = [3000, 801, 320, 65, 1]


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def built(kind, **options):
    torch.manual_seed(0)
    return kind[0](modality(**options), **kind[1])


@torch.no_grad()
def test_neither_padding_nor_neighbors_change_a_feature(kind):
    encoder = built(kind).eval()
    for _, buffer in encoder.named_buffers():  # running statistics that are not those of the start
        if buffer.is_floating_point():
            buffer.add_(0.1)
    batch = batch_of(LENGTHS)
    together = encoder(batch)
    for row, example in enumerate(batch.unpad()):
        alone = encoder(SignalBatch.join([example]))
        torch.testing.assert_close(alone.pooled[0], together.pooled[row], rtol=1e-3, atol=1e-4)
        count = int(together.mask[row].sum())
        assert count == int(alone.mask.sum()) >= 1
        torch.testing.assert_close(alone.tokens[0, :count], together.tokens[row, :count], rtol=1e-3, atol=1e-4)


def test_statistics_of_training_leave_padding_out(kind):
    short, long = batch_of([900, 500]), batch_of([3000], seed=1)
    padded = SignalBatch.cat([short, long]).select(torch.tensor([0, 1]))
    encoder = built(kind).train()
    torch.testing.assert_close(encoder(short).pooled, encoder(padded).pooled, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 6])
def test_any_number_of_channels_and_a_single_sample(kind, channels):
    if kind[0] is Wav2Vec2Encoder and channels > 1:
        pytest.skip("it takes one channel")
    encoder = built(kind, channels=channels).train()
    features = encoder(batch_of([1, 1], channels))
    assert features.pooled.shape == (2, encoder.dim)
    features.pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_autocast_silence_and_hidden_sounds_stay_finite(kind):
    batch = batch_of([900, 400])
    batch = batch.with_values(batch.values * torch.tensor([0.0, 1.0])[:, None, None])
    encoder = built(kind).train()
    if kind[0] is not Wav2Vec2Encoder:
        mels = encoder.modality.log_mels(batch)
        batch = mels.masked(torch.tensor([True, False])[:, None, None])  # nothing of the first is left
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = encoder(batch)
    assert features.pooled.isfinite().all()
    features.pooled.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_log_mels_and_waveforms_are_encoded_alike(kind):
    encoder = built(kind).eval()
    batch = batch_of([900, 400])
    if kind[0] is Wav2Vec2Encoder:
        with pytest.raises(RecipeError, match="takes waveforms"):
            encoder(modality().log_mels(batch))
        return
    torch.testing.assert_close(encoder(batch).pooled, encoder(encoder.modality.log_mels(batch)).pooled)


@pytest.mark.parametrize("name", ["transformer", "transformer-causal", "wav2vec2"])
@torch.no_grad()
def test_hidden_tokens_are_not_seen_through_any_door(name):
    """Dropped or replaced tokens have no influence on the other tokens."""
    encoder = built(KINDS[name]).eval()
    one, other = encoder.tokenize(batch_of([4000])), encoder.tokenize(batch_of([4000], seed=1))
    count = one.x.shape[1]
    masked = torch.arange(count) % 3 == 0
    mixed = torch.where(masked[None, :, None], other.x, one.x)
    keep = (~masked).nonzero().T
    seen, changed = (encoder.encode_tokens(type(one)(x, one.positions, one.mask), keep) for x in (one.x, mixed))
    torch.testing.assert_close(seen.tokens, changed.tokens)
    torch.testing.assert_close(one.positions, other.positions)
    whole = encoder.encode_tokens(one).tokens[:, keep[0]]
    assert not torch.allclose(whole, seen.tokens, atol=1e-3)


def test_patches_are_cut_in_order():
    encoder = built(KINDS["transformer"])
    encoder.normalize_targets = False
    batch = batch_of([400, 64])
    mels = encoder.modality.log_mels(batch)
    targets = encoder.token_targets(batch)
    assert targets.shape == (2, 8, 16)  # 7 frames in 4 columns, 16 bands in 2 rows
    torch.testing.assert_close(targets[0, 3].view(8, 2), mels.values[0, 8:, 2:4])
    assert (targets[0, 6].view(8, 2)[:, 1] == 0).all()
    tokens = encoder.tokenize(batch)
    assert tokens.mask.tolist() == [[True] * 8, [True, True, *[False] * 6]]
    assert len({tuple(row.tolist()) for row in tokens.positions[0]}) == 8
    encoder.normalize_targets = True
    assert (encoder.token_targets(batch)[0, :6].std(1, correction=0) - 1).abs().max() < 1e-3


@torch.no_grad()
def test_a_causal_patch_attends_to_earlier_patches_only():
    made = built(KINDS["transformer-causal"]).eval()
    tokens = made.tokenize(batch_of([4000, 1500]))
    changed = replace(tokens, x=tokens.x.clone())
    changed.x[:, 5] = 3 * torch.randn(2, 16)
    one, other = made.encode_tokens(tokens).tokens, made.encode_tokens(changed).tokens
    count = int(tokens.mask[1].sum())
    torch.testing.assert_close(one[:, :5], other[:, :5])
    assert 6 < count < tokens.x.shape[1]
    assert not any(torch.allclose(one[1, t], other[1, t], atol=1e-5) for t in range(5, count))
    keep = torch.tensor([[6, 2, 5], [5, 2, count]])  # order is that of positions; the last one is padding
    one, other = (made.encode_tokens(of, keep).tokens for of in (tokens, changed))
    torch.testing.assert_close(one[:, 1], other[:, 1])
    assert not any(torch.allclose(one[0, t], other[0, t], atol=1e-5) for t in (0, 2))
    assert one.isfinite().all()
    looking = built(KINDS["transformer"]).eval()  # the negative control
    one, other = (looking.encode_tokens(of).tokens for of in (tokens, changed))
    assert not torch.allclose(one[:, :5], other[:, :5], atol=1e-5)


def test_a_frame_of_wav2vec2_sees_its_window_alone():
    encoder = built(KINDS["wav2vec2"]).eval()
    assert (encoder.frames.hop, encoder.frames.receptive_field) == (320, 400)
    batch = batch_of([2000])
    targets = encoder.token_targets(batch)
    assert targets.shape == (1, 6, 320)
    x = encoder._waves(batch)
    torch.testing.assert_close(targets[0, 2], x[0, 680:1000])
    samples = x.clone().requires_grad_()
    encoder.convolutions(samples, None)[0][0, 2].square().sum().backward()
    seen = samples.grad[0].nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (640, 1039)


@pytest.mark.parametrize("name", ["conv-stride", "transformer-parts"])
def test_parts_stand_side_by_side(name):
    encoder = built(KINDS[name]).eval()
    features = encoder(batch_of([3000, 1200]))
    assert features.tokens.shape[2] == encoder.token_dim == encoder.dim // encoder.parts
    torch.testing.assert_close(features.pooled, pool_parts(features.tokens, features.mask, encoder.parts))


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Conv, {"parts": 0}),
        (Conv, {"depth": 0}),
        (SpectrogramTransformer, {"parts": 0}),
        (SpectrogramTransformer, {"patch": (5, 2)}),
        (SpectrogramTransformer, {"width": 18}),
        (Wav2Vec2Encoder, {"width": 40}),
    ],
)
def test_invalid_options_are_refused(cls, options):
    with pytest.raises(RecipeError):
        cls(modality(), **options)
    with pytest.raises(RecipeError):
        Wav2Vec2Encoder(modality(channels=2))
