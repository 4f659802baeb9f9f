from dataclasses import replace

import pytest
import torch

from sensorium import Tokens
from sensorium.blocks.masking import (
    dirichlet_masks,
    flat_indices,
    random_mask,
    random_mask_counts,
    replace_masked,
    visible_bound,
)
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


def drawn(lengths, visible=0.25, alpha=1.0, records=10_000, seed=0):
    """Return which tokens are visible, of each modality of many records of these lengths."""
    torch.manual_seed(seed)
    valid = [torch.ones(records, length, dtype=torch.bool) for length in lengths]
    return [~masked for masked in dirichlet_masks(valid, visible, alpha)]


def test_shares_of_modalities_are_symmetric_and_places_within_one_uniform():
    visible = drawn((16, 16, 16))
    counts = torch.stack([one.sum(1) for one in visible], dim=1)
    assert counts.sum(1).eq(12).all()
    assert (counts.double().mean(0) - 4).abs().max() < 0.1, counts.double().mean(0)
    for one in visible:
        assert (one.double().mean(0) - 0.25).abs().max() < 0.02
    # Of a Dirichlet distribution of three with alpha 1, the variance of a share is 1/18.
    shares = counts.double() / 12
    assert abs(shares.var(0).mean() - 1 / 18) < 0.006


def test_what_rounding_leaves_over_does_not_fall_to_the_first_modality():
    """Of a budget of one token, floors are zero: whose it is, the second draw decides alone."""
    counts = torch.stack([one.sum(1) for one in drawn((4, 4, 4), visible=1 / 12)], dim=1)
    assert counts.sum(1).eq(1).all()
    assert (counts.double().mean(0) - 1 / 3).abs().max() < 0.02, counts.double().mean(0)


def test_a_small_alpha_shows_one_modality_alone():
    for alpha, least, most in ((1e-3, 0.98, 1.0), (1.0, 0.1, 0.4), (100.0, 0.0, 0.01)):
        alone = torch.stack([one.any(1) for one in drawn((16, 16), alpha=alpha, records=4000)], dim=1).sum(1).eq(1)
        assert least <= alone.double().mean() <= most, alpha


def test_missing_modalities_and_padding_are_never_visible_or_masked():
    torch.manual_seed(0)
    has, lengths = torch.arange(600) % 3 > 0, torch.randint(0, 7, (600, 1))
    valid = [has[:, None].expand(-1, 8), torch.arange(6) < lengths]
    masks = dirichlet_masks(valid, 0.3, 1.0)
    total, shown = sum(v.sum(1) for v in valid), sum((v & ~m).sum(1) for v, m in zip(valid, masks, strict=True))
    assert all(not (m & ~v).any() for v, m in zip(valid, masks, strict=True))
    assert shown[total > 0].min() == 1
    assert (total - shown)[total > 1].min() >= 1
    assert shown.max() <= visible_bound(0.3, [8, 6])
    only_first = has & (lengths[:, 0] == 0)
    assert ((valid[0] & ~masks[0]).sum(1)[only_first] == 2).all()  # all of the budget is its own


def test_a_budget_that_one_modality_cannot_take_is_not_handed_on():
    counts = torch.stack([one.sum(1) for one in drawn((30, 2), visible=0.5, records=4000)], dim=1)
    assert counts[:, 1].max() == 2
    assert counts[:, 0].eq(0).any(), "a record may be shown by its short modality alone"


def test_no_record_and_no_modality_have_no_mask():
    assert [m.shape for m in dirichlet_masks([torch.ones(0, 3, dtype=torch.bool)], 0.5, 1.0)] == [(0, 3)]
    nothing = [torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)]
    assert not any(mask.any() for mask in dirichlet_masks(nothing, 0.5, 0.1))
