import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.blocks.token_decoder import TokenDecoder, token_counts, token_indices
from sensorium.errors import RecipeError
from sensorium.types import Features


def masks(rows):
    """Rows of letters: c chosen, s filler, anything else neither."""
    return tuple(torch.tensor([[letter == which for letter in row] for row in rows]) for which in "cs")


def test_rows_that_choose_fewer_are_filled_with_spare_tokens():
    chosen, filler = masks(["cc.c.", "c..ss", ".cc.s"])
    index, mask = token_indices(chosen, filler, 3)
    assert [sorted(row) for row in index.tolist()] == [[0, 1, 3], [0, 3, 4], [1, 2, 4]]
    assert torch.equal(mask, chosen.gather(1, index))
    assert mask.sum(1).tolist() == [3, 1, 2]


def test_other_tokens_are_never_kept_and_chosen_ones_are_dropped_at_random():
    chosen, filler = masks(["cccc..", "c....s"])
    found = set()
    for seed in range(40):
        torch.manual_seed(seed)
        index, mask = token_indices(chosen, filler, 2)
        assert index.shape == (2, 2)
        assert mask.tolist()[0] == [True, True]
        assert sorted(index[1].tolist()) == [0, 5]
        found.add(tuple(sorted(index[0].tolist())))
    assert len(found) == 6


def test_the_counts_of_several_choices_are_read_at_once():
    assert token_counts(masks(["cccc..", "c....s"]), masks(["cc.c.", "c..ss", ".cc.s"])) == [2, 3]


def test_no_rows_have_one_token_each():
    nothing = torch.zeros(0, 5, dtype=torch.bool)
    assert token_counts((nothing, nothing), (nothing, ~nothing)) == [1, 1]
    assert token_indices(nothing, nothing, 1)[0].shape == (0, 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("cs."), min_size=6, max_size=6), min_size=1, max_size=5), st.integers(0, 99))
def test_properties_of_token_indices(rows, seed):
    chosen, filler = masks(rows)
    torch.manual_seed(seed)
    (count,) = token_counts((chosen, filler))
    index, mask = token_indices(chosen, filler, count)
    for row, kept, real in zip(rows, index.tolist(), mask.tolist(), strict=True):
        assert len(set(kept)) == len(kept)
        assert [row[position] for position in kept] == ["c" if is_chosen else "s" for is_chosen in real]
        masked = row.count("c")
        assert sum(real) == min(masked, len(kept))
    most = max(row.count("c") for row in rows)
    assert count == min(most, *(row.count("c") + row.count("s") for row in rows))


@pytest.fixture
def parts():
    torch.manual_seed(0)
    decoder = TokenDecoder(6, 5, width=8, depth=2, heads=2).double()
    positions, tokens = torch.randn(1, 7, 6).double(), torch.randn(2, 3, 6).double()
    visible, masked = torch.tensor([[0, 2, 4], [6, 1, 0]]), torch.tensor([[1, 3], [2, 3]])
    return decoder, Features(tokens[:, 0], tokens), positions, visible, masked, torch.ones(2, 2, dtype=torch.bool)


def test_a_prediction_depends_on_tokens_and_positions_not_on_their_order(parts):
    decoder, features, positions, visible, masked, mask = parts
    predictions = decoder(*parts[1:])
    assert predictions.shape == (2, 2, 5)
    turned = Features(features.pooled, features.tokens.flip(1))
    assert torch.allclose(decoder(turned, positions, visible.flip(1), masked, mask), predictions)
    assert torch.allclose(decoder(features, positions, visible, masked.flip(1), mask).flip(1), predictions)
    assert not torch.allclose(decoder(features, positions, visible.flip(1), masked, mask), predictions)
    assert torch.allclose(decoder(features, positions.expand(2, -1, -1), visible, masked, mask), predictions)


def test_padding_is_masked_in_attention(parts):
    decoder, features, positions, visible, masked, mask = parts
    real = torch.tensor([[True, True, False]] * 2)
    padded = Features(features.pooled, features.tokens, real)
    predictions = decoder(padded, positions, visible, masked, mask)
    short = Features(features.pooled, features.tokens[:, :2])
    assert torch.allclose(decoder(short, positions, visible[:, :2], masked, mask), predictions)
    mask[:, 1] = False
    alone = decoder(padded, positions, visible, masked[:, :1], mask[:, :1])
    assert torch.allclose(decoder(padded, positions, visible, masked, mask)[:, :1], alone)
    assert not torch.allclose(alone, predictions[:, :1])


def test_nothing_wanted_leaves_every_gradient_zero(parts):
    decoder, features, positions, visible, masked, mask = parts
    decoder(features, positions, visible, masked[:, :0], mask[:, :0]).sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())
    assert all(p.grad.eq(0).all() for p in decoder.parameters())


def test_heads_must_divide_the_width():
    with pytest.raises(RecipeError, match="width 10 cannot have 4 heads"):
        TokenDecoder(6, 5, width=10, depth=1, heads=4)
