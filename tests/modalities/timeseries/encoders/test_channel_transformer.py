import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.timeseries.channel_batch import ChannelSetBatch
from sensorium.modalities.timeseries.encoders.channel_transformer import ChannelTransformer, pool_by_channel
from sensorium.modalities.timeseries.encoders.dilated import Dilated
from sensorium.modalities.timeseries.encoders.inception import Inception
from sensorium.modalities.timeseries.encoders.patch_transformer import PatchTransformer
from tests.modalities import pretrained_case
from tests.modalities.timeseries.series import any_channels, batch_of, modality, raw_sets

MODALITY = any_channels()
assert_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


def batch(counts=(9, 2, 24, 1), modality=MODALITY, **options) -> ChannelSetBatch:
    return modality.collate([modality.decode(raw) for raw in raw_sets(counts, **options)])


def encoder(of=MODALITY, **options) -> ChannelTransformer:
    torch.manual_seed(0)
    made = ChannelTransformer(of, **{"patch": 8, "width": 32, "depth": 2, "heads": 2} | options).eval()
    with torch.no_grad():
        for parameter in made.blocks.parameters():  # so that blocks move tokens
            if parameter.ndim == 2:
                parameter.mul_(4)
    return made


@pytest.fixture(scope="module", params=["name", "position", "none"])
def made(request):
    return encoder(channel=request.param)


@torch.no_grad()
@pytest.mark.parametrize("channel", ["name", "none"])
def test_the_order_of_named_channels_changes_no_pooled_feature(channel):
    made, raws = encoder(channel=channel), raw_sets((9, 24, 2))
    turned = []
    for raw in raws:
        order = np.random.default_rng(0).permutation(len(raw["channels"]))
        turned.append({"values": raw["values"][order], "channels": [raw["channels"][i] for i in order]})
    one, other = (made(MODALITY.collate([MODALITY.decode(raw) for raw in some])).pooled for some in (raws, turned))
    assert_close(one, other)
    if channel == "name":  # the negative control: names that move against their values are other channels
        swapped = [raw | {"channels": raw["channels"][::-1]} for raw in raws]
        assert not torch.allclose(
            one, made(MODALITY.collate([MODALITY.decode(raw) for raw in swapped])).pooled, atol=1e-3
        )


@torch.no_grad()
def test_features_do_not_depend_on_other_rows_or_padded_channels_and_steps(made):
    many = batch()
    together = made(many)
    for row in range(len(many)):
        alone = made(many.select(torch.tensor([row])).trim_padding())
        assert_close(alone.pooled[0], together.pooled[row])
        assert_close(alone.tokens[0][alone.mask[0]], together.tokens[row][together.mask[row]])
    assert_close(made(many.widen(64)).pooled, together.pooled)
    assert_close(made(many.select(torch.tensor([3, 0, 2, 1]))).pooled, together.pooled[[3, 0, 2, 1]])


@torch.no_grad()
def test_what_stands_in_padded_channels_changes_nothing(made):
    many = batch()
    padding = ~many.channel_mask
    changed = dataclasses.replace(
        many,
        values=many.values.masked_fill(padding[..., None], 7.0),
        channel_ids=many.channel_ids.masked_fill(padding, 5),
        levels=many.levels.masked_fill(padding[..., None], 3.0),
    )
    assert_close(made(changed).pooled, made(many).pooled)


@torch.no_grad()
def test_a_channel_weighs_the_same_however_many_patches_and_channels_others_have():
    tokens = torch.randn(1, 7, 4)
    channel = torch.tensor([[0, 0, 0, 0, 1, 1, 2]])
    valid = torch.tensor([[True, True, True, False, True, True, False]])
    expected = (tokens[0, :3].mean(0) + tokens[0, 4:6].mean(0)) / 2
    assert_close(pool_by_channel(tokens, valid, channel)[0], expected)
    assert (pool_by_channel(tokens, ~valid & False, channel) == 0).all()


@torch.no_grad()
def test_a_level_is_seen_and_a_name_that_the_training_lacks_has_a_place():
    made, raw = encoder(), raw_sets((2,))[0]
    rows = [
        raw,
        raw | {"values": 100 * raw["values"]},
        raw | {"channels": ["x", "new"]},
        raw | {"channels": ["y", "x"]},
    ]
    many = MODALITY.collate([MODALITY.decode(one) for one in rows])
    assert_close(many.values[0], many.values[1])  # each scaled by itself
    assert not torch.allclose(many.levels[0], many.levels[1])
    pooled = made(many).pooled
    assert torch.cdist(pooled, pooled).fill_diagonal_(9.0).min() > 1e-3
    assert (many.levels[2, 1] == 0).all()
    assert pooled.isfinite().all()


@torch.no_grad()
def test_time_restarts_in_every_channel_and_positions_tell_channels(made):
    tokens = made.tokenize(batch())
    b, t, d = tokens.x.shape
    assert (t, d) == (24 * 5, 32)
    places_CPD = tokens.positions.expand(b, -1, -1)[2].unflatten(0, (24, 5))
    steps = places_CPD - places_CPD[:, :1]
    assert_close(steps, steps[:1].expand_as(steps))
    same = torch.cdist(places_CPD[:, 0], places_CPD[:, 0]).fill_diagonal_(9.0).min() < 1e-3
    assert bool(same) == (made.channel == "none")


@torch.no_grad()
def test_a_patch_without_an_observed_value_is_no_token():
    many = batch((3, 2), steps=32)
    gone = torch.zeros(2, 3, 32, dtype=torch.bool)
    gone[0, 1, 8:16] = True
    tokens = encoder().tokenize(many.masked(gone))
    assert tokens.mask.tolist() == [[True] * 11 + [False], [True] * 8 + [False] * 4]
    assert tokens.channel[0, :11].tolist() == [0] * 4 + [1] * 3 + [2] * 4
    places_D = [tokens.positions[0, t] for t in (4, 5, 6)]
    whole = encoder().tokenize(many)
    assert_close(torch.stack(places_D), whole.positions[0, [4, 6, 7]])
    assert_close(tokens.x[0, :11], whole.x[0, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]])


@torch.no_grad()
def test_a_batch_has_as_many_tokens_as_its_largest_row_and_not_as_many_as_channels_times_steps():
    raws = [
        {"values": np.random.randn(count, steps), "channels": list("abcdefgh"[:count])}
        for count, steps in ((8, 16), (1, 160))
    ]
    made, many = encoder(), MODALITY.collate([MODALITY.decode(raw) for raw in raws])
    assert many.values.shape == (2, 8, 160)
    tokens = made.tokenize(many)
    assert tokens.x.shape[1] == 20  # not 160
    assert tokens.mask.sum(1).tolist() == [16, 20]
    unknown = dataclasses.replace(many, host_channels=None)
    assert made.tokenize(unknown).x.shape[1] == 160
    assert_close(made(unknown).pooled, made(many).pooled)


def test_kept_tokens_and_noise(made):
    of = batch((24, 9, 2), steps=48)
    pretrained_case.check_shapes(made, of)
    pretrained_case.check_kept_tokens(made, of)
    pretrained_case.check_noise_in_dropped_tokens(made, of)
    if made.channel != "none":
        pretrained_case.check_hidden_places(made, of)


@torch.no_grad()
def test_a_fixed_number_of_channels_does_too():
    made = encoder(modality(3))
    one = batch_of([30, 9, 17])
    assert made(one).pooled.shape == (3, 32)
    names = [f"channel {i}" for i in range(3)]
    assert_close(made(one).pooled, made(ChannelSetBatch.of_signals(one, names)).pooled)
    assert made.token_targets(one).shape == (3, 12, 8)


@pytest.mark.parametrize("cls", [Dilated, Inception, PatchTransformer])
def test_encoders_of_one_number_of_channels_refuse_any(cls):
    with pytest.raises(RecipeError, match="channels: any: choose the encoder channel-transformer"):
        cls(MODALITY)


def test_rows_without_tokens_and_no_rows_have_finite_features_and_gradients():
    made = encoder().train()
    empty = batch().masked(torch.tensor([True, False, False, False])[:, None, None])
    for of in (empty, empty.select(torch.zeros(0, dtype=torch.int64))):
        features = made(of)
        features.pooled.square().sum().backward()
        assert features.pooled.isfinite().all()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
