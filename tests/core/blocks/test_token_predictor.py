import pytest
import torch

from sensorium import Features, TokenPredictor
from sensorium.errors import RecipeError


@pytest.fixture
def parts():
    torch.manual_seed(0)
    predictor = TokenPredictor(6, width=8, depth=2, heads=2).double()
    torch.nn.init.normal_(predictor.mask_token)
    positions, tokens = torch.randn(1, 7, 6).double(), torch.randn(2, 3, 6).double()
    visible, masked = torch.tensor([[0, 2, 4], [6, 1, 0]]), torch.tensor([[1, 3], [2, 3]])
    return predictor, Features(tokens[:, 0], tokens), positions, visible, masked


def test_a_prediction_depends_on_visible_tokens_and_positions_not_on_their_order(parts):
    predictor, features, positions, visible, masked = parts
    predictions = predictor(*parts[1:])
    assert predictions.shape == (2, 2, 8)
    turned = Features(features.pooled, features.tokens.flip(1))
    torch.testing.assert_close(predictor(turned, positions, visible.flip(1), masked), predictions)
    assert not torch.allclose(predictor(turned, positions, visible, masked), predictions, rtol=1e-3)


def test_swapping_two_masked_positions_swaps_their_predictions(parts):
    predictor, features, positions, visible, masked = parts
    predictions = predictor(*parts[1:])
    torch.testing.assert_close(predictor(features, positions, visible, masked.flip(1)), predictions.flip(1))
    assert not torch.allclose(predictions[:, 0], predictions[:, 1], rtol=1e-3)


def test_masked_tokens_do_not_see_one_another(parts):
    predictor, features, positions, visible, masked = parts
    alone = predictor(features, positions, visible, masked[:, :1])
    torch.testing.assert_close(predictor(*parts[1:])[:, :1], alone)


def test_padding_among_the_visible_tokens_is_not_seen(parts):
    predictor, features, positions, visible, masked = parts
    mask = torch.tensor([[True, True, False], [True, True, True]])
    padded = torch.where(mask[..., None], features.tokens, 1e4)
    found = predictor(Features(features.pooled, padded, mask), positions, visible, masked)
    first = Features(features.pooled[:1], features.tokens[:1, :2])
    torch.testing.assert_close(found[:1], predictor(first, positions, visible[:1, :2], masked[:1]))


def test_records_without_a_visible_token_and_batches_without_a_record_are_finite(parts):
    predictor, features, positions, visible, masked = parts
    nothing = Features(features.pooled, features.tokens, torch.zeros(2, 3, dtype=torch.bool))
    (no_records, _) = features.split([0, 2])
    of_nothing = predictor(nothing, positions, visible, masked)
    loss = of_nothing.square().sum() + predictor(no_records, positions, visible[:0], masked[:0]).sum()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in predictor.parameters())


def test_every_parameter_is_trained(parts):
    predictor = parts[0]
    predictor(*parts[1:]).square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in predictor.named_parameters() if name != "norm.weight")


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(RecipeError, match="predictor of width 8 cannot have 3 heads"):
        TokenPredictor(6, 8, 1, 3)
