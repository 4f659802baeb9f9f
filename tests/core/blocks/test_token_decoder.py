import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.blocks.token_decoder import TokenDecoder, token_indices
from sensorium.errors import RecipeError
from sensorium.types import Features


def masks(rows):
    """Rows of letters: c chosen, s spare, anything else neither."""
    return tuple(torch.tensor([[letter == which for letter in row] for row in rows]) for which in "cs")


def test_rows_that_choose_fewer_are_filled_with_spare_tokens():
    chosen, spare = masks(["cc.c.", "c..ss", ".cc.s"])
    places, mask = token_indices(chosen, spare)
    assert [sorted(row) for row in places.tolist()] == [[0, 1, 3], [0, 3, 4], [1, 2, 4]]
    assert torch.equal(mask, chosen.gather(1, places))
    assert mask.sum(1).tolist() == [3, 1, 2]


def test_what_is_neither_is_never_shown_and_the_rest_is_trimmed_at_random():
    chosen, spare = masks(["cccc..", "c....s"])
    found = set()
    for seed in range(40):
        torch.manual_seed(seed)
        places, mask = token_indices(chosen, spare)
        assert places.shape == (2, 2)
        assert mask.tolist()[0] == [True, True]
        assert sorted(places[1].tolist()) == [0, 5]
        found.add(tuple(sorted(places[0].tolist())))
    assert len(found) == 6


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("cs."), min_size=6, max_size=6), min_size=1, max_size=5), st.integers(0, 99))
def test_laws_of_places(rows, seed):
    chosen, spare = masks(rows)
    torch.manual_seed(seed)
    places, mask = token_indices(chosen, spare)
    for row, kept, real in zip(rows, places.tolist(), mask.tolist(), strict=True):
        assert len(set(kept)) == len(kept)
        assert [row[place] for place in kept] == ["c" if is_real else "s" for is_real in real]
        wanted = row.count("c")
        assert sum(real) == min(wanted, len(kept))
    most = max(row.count("c") for row in rows)
    assert places.shape[1] == min(most, *(row.count("c") + row.count("s") for row in rows))


@pytest.fixture
def parts():
    torch.manual_seed(0)
    decoder = TokenDecoder(6, 5, width=8, depth=2, heads=2).double()
    positions, tokens = torch.randn(1, 7, 6).double(), torch.randn(2, 3, 6).double()
    shown, wanted = torch.tensor([[0, 2, 4], [6, 1, 0]]), torch.tensor([[1, 3], [2, 3]])
    return decoder, Features(tokens[:, 0], tokens), positions, shown, wanted, torch.ones(2, 2, dtype=torch.bool)


def test_a_guess_depends_on_what_is_shown_and_on_places_not_on_their_order(parts):
    decoder, features, positions, shown, wanted, mask = parts
    guesses = decoder(*parts[1:])
    assert guesses.shape == (2, 2, 5)
    turned = Features(features.pooled, features.tokens.flip(1))
    assert torch.allclose(decoder(turned, positions, shown.flip(1), wanted, mask), guesses)
    assert torch.allclose(decoder(features, positions, shown, wanted.flip(1), mask).flip(1), guesses)
    assert not torch.allclose(decoder(features, positions, shown.flip(1), wanted, mask), guesses)
    assert torch.allclose(decoder(features, positions.expand(2, -1, -1), shown, wanted, mask), guesses)


def test_nobody_sees_padding_nor_what_is_not_wanted(parts):
    decoder, features, positions, shown, wanted, mask = parts
    real = torch.tensor([[True, True, False]] * 2)
    padded = Features(features.pooled, features.tokens, real)
    guesses = decoder(padded, positions, shown, wanted, mask)
    short = Features(features.pooled, features.tokens[:, :2])
    assert torch.allclose(decoder(short, positions, shown[:, :2], wanted, mask), guesses)
    mask[:, 1] = False
    alone = decoder(padded, positions, shown, wanted[:, :1], mask[:, :1])
    assert torch.allclose(decoder(padded, positions, shown, wanted, mask)[:, :1], alone)
    assert not torch.allclose(alone, guesses[:, :1])


def test_nothing_wanted_leaves_every_gradient_zero(parts):
    decoder, features, positions, shown, wanted, mask = parts
    decoder(features, positions, shown, wanted[:, :0], mask[:, :0]).sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())
    assert all(p.grad.eq(0).all() for p in decoder.parameters())


def test_heads_must_divide_the_width():
    with pytest.raises(RecipeError, match="width 10 cannot have 4 heads"):
        TokenDecoder(6, 5, width=10, depth=1, heads=4)
