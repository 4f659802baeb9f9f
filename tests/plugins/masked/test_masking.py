import pytest
import torch

from sensorium import Tokens
from sensorium.errors import RecipeError
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.masking import cover, hide
from tests.plugins.toy_token_modality import sequences, view_of

LENGTHS = (12, 7, 2, 1, 5)


def tokens_of(batch):
    return Tokens(batch.x, torch.zeros(1, 12, 3), batch.mask)


@pytest.mark.parametrize(
    ("ratio", "hidden"), [(0.75, [9, 5, 1, 0, 4]), (0.01, [1, 1, 1, 0, 1]), (0.99, [11, 6, 1, 0, 4])]
)
def test_a_share_of_the_real_tokens_is_hidden(ratio, hidden):
    batch = sequences(LENGTHS)
    mask = hide(view_of(batch), tokens_of(batch), ratio)
    assert mask.sum(1).tolist() == hidden
    assert not (mask & ~batch.mask).any()


def test_every_token_is_hidden_equally_often_and_rows_by_themselves():
    torch.manual_seed(0)
    batch = sequences((6,) * 2000, padded=False)
    mask = hide(view_of(batch), tokens_of(batch), 0.5)
    assert mask.sum(1).eq(3).all()
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.05
    both = (mask[:, 0] & mask[:, 1]).float().mean()
    assert abs(both - 0.2) < 0.04  # 3/6 x 2/5
    torch.manual_seed(0)
    assert torch.equal(mask, hide(view_of(batch), tokens_of(batch), 0.5))


def test_a_views_own_mask_is_taken_and_padding_is_never_hidden():
    batch = sequences(LENGTHS)
    own = torch.zeros(5, 12, dtype=torch.bool)
    own[:, ::2] = True
    assert torch.equal(hide(view_of(batch, info={"masked": own}), tokens_of(batch), 0.5), own & batch.mask)


def test_views_that_have_replaced_tokens_already_are_refused():
    batch = sequences(LENGTHS)
    view = view_of(batch, info={"masked": batch.mask}, target=torch.zeros(5, 12))
    with pytest.raises(RecipeError, match="for the objective 'masked-token'"):
        hide(view, tokens_of(batch), 0.5)


def test_cover_replaces_hidden_tokens_alone():
    batch = sequences(LENGTHS)
    tokens = tokens_of(batch)
    before, hidden = tokens.x.clone(), hide(view_of(batch), tokens, 0.5)
    covered = cover(tokens, hidden, torch.full((3,), 7.0))
    assert covered.x[hidden].eq(7).all()
    assert torch.equal(covered.x[~hidden], before[~hidden])
    assert torch.equal(tokens.x, before)
    assert covered.positions is tokens.positions
    assert covered.mask is tokens.mask


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5])
def test_a_ratio_is_a_share(ratio):
    with pytest.raises(RecipeError, match="ratio of the objective 'mae' must lie between 0 and 1"):
        MAE(ratio=ratio)
