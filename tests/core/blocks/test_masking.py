from dataclasses import replace

import pytest
import torch

from sensorium import Tokens
from sensorium.blocks.masking import flat_indices, random_mask, random_mask_counts, replace_masked
from sensorium.blocks.token_decoder import token_counts
from sensorium.errors import RecipeError
from tests.plugins.toy_token_modality import sequences, view_of

LENGTHS = (12, 7, 2, 1, 5)


def tokens_of(batch):
    return Tokens(batch.x, torch.zeros(1, 12, 3), batch.mask)


@pytest.mark.parametrize(
    ("ratio", "masked"), [(0.75, [9, 5, 1, 0, 4]), (0.01, [1, 1, 1, 0, 1]), (0.99, [11, 6, 1, 0, 4])]
)
def test_the_mask_ratio_is_of_valid_tokens(ratio, masked):
    batch = sequences(LENGTHS)
    mask = random_mask(view_of(batch), tokens_of(batch), ratio)
    assert mask.sum(1).tolist() == masked
    assert not (mask & ~batch.mask).any()


def test_every_token_is_masked_equally_often_and_records_independently():
    torch.manual_seed(0)
    batch = sequences((6,) * 2000, padded=False)
    mask = random_mask(view_of(batch), tokens_of(batch), 0.5)
    assert mask.sum(1).eq(3).all()
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.05
    both = (mask[:, 0] & mask[:, 1]).float().mean()
    assert abs(both - 0.2) < 0.04  # 3/6 x 2/5
    torch.manual_seed(0)
    assert torch.equal(mask, random_mask(view_of(batch), tokens_of(batch), 0.5))


def test_the_mask_of_a_view_is_used_and_padding_is_never_masked():
    batch = sequences(LENGTHS)
    given = torch.zeros(5, 12, dtype=torch.bool)
    given[:, ::2] = True
    assert torch.equal(random_mask(view_of(batch, info={"masked": given}), tokens_of(batch), 0.5), given & batch.mask)


def test_views_that_have_replaced_tokens_already_are_refused():
    batch = sequences(LENGTHS)
    view = view_of(batch, info={"masked": batch.mask}, target=torch.zeros(5, 12))
    with pytest.raises(RecipeError, match="for the objective 'masked-token'"):
        random_mask(view, tokens_of(batch), 0.5)


def test_a_mask_of_other_tokens_than_the_encoders_is_refused_in_a_sentence():
    tokens = Tokens(torch.zeros(2, 6, 4), torch.zeros(1, 6, 4))
    view = replace(view_of(sequences((6, 6))), info={"masked": torch.zeros(2, 3, dtype=torch.bool)})
    with pytest.raises(RecipeError, match=r"mask 3 tokens of each record of '.*', and the encoder has 6: give both"):
        random_mask(view, tokens, 0.5)


def test_replace_masked_leaves_visible_tokens():
    batch = sequences(LENGTHS)
    tokens = tokens_of(batch)
    before, masked = tokens.x.clone(), random_mask(view_of(batch), tokens, 0.5)
    replaced = replace_masked(tokens, masked, torch.full((3,), 7.0))
    assert replaced.x[masked].eq(7).all()
    assert torch.equal(replaced.x[~masked], before[~masked])
    assert torch.equal(tokens.x, before)
    assert replaced.positions is tokens.positions
    assert replaced.mask is tokens.mask


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.6, 0.75])
@pytest.mark.parametrize("lengths", [(12, 7, 2, 1, 5), (12,), (12, 11, 10, 9)])
def test_the_counts_of_a_drawn_mask_are_known_without_reading_it(ratio, lengths):
    batch = sequences(lengths)
    view, tokens = view_of(batch), tokens_of(batch)
    masked, valid = random_mask(view, tokens, ratio), tokens.valid()
    counted = token_counts((valid & ~masked, ~valid), (masked, ~masked))
    assert random_mask_counts(view, tokens, ratio, masked) == counted


def test_the_mask_of_a_view_is_counted():
    view = view_of(sequences((12, 12)))
    view.info["masked"] = torch.arange(12).expand(2, -1) < torch.tensor([[3], [5]])
    assert random_mask_counts(view, tokens_of(view.batch), 0.75, view.info["masked"]) == [7, 5]


def test_flat_indices_are_those_of_the_true_entries():
    assert flat_indices(torch.tensor([[True, False, True], [False, False, True]]), 3).tolist() == [0, 2, 5]
