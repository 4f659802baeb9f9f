import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium import Tokens, View
from sensorium.blocks.masking import block_mask, context_and_targets, inverse_block_mask, valid_on_grid
from sensorium.errors import RecipeError

SETTING = {"count": 4, "context_scale": (0.85, 1.0), "target_scale": (0.15, 0.2), "aspect_ratio": (0.75, 1.5)}


def valid_of(lengths, grid):
    """The first columns of each grid are valid."""
    h, w = grid
    return (torch.arange(w) < torch.tensor(lengths)[:, None])[:, None].expand(-1, h, -1)


def is_rectangle(block):
    rows, columns = block.any(1), block.any(0)
    runs = [bool((part.nonzero().diff(dim=0) == 1).all()) for part in (rows, columns)]
    return all(runs) and bool(block[rows][:, columns].all())


def test_blocks_are_rectangles_of_the_given_scale_anywhere():
    torch.manual_seed(0)
    blocks = block_mask(torch.ones(400, 14, 14, dtype=torch.bool), (0.15, 0.2), (0.75, 1.5))
    assert all(is_rectangle(block) for block in blocks)
    fraction = blocks.flatten(1).float().mean(1)
    assert fraction.min() > 0.12
    assert fraction.max() < 0.23
    heights, widths = blocks.any(2).sum(1), blocks.any(1).sum(1)
    assert (heights / widths).min() > 0.6
    assert (heights / widths).max() < 1.8
    assert blocks.any(0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 999))
def test_properties_of_context_and_targets(lengths, h, seed):
    """Valid tokens only; context and targets disjoint; some context, some targets, whatever the size."""
    valid = valid_of(lengths, (h, max(lengths)))
    torch.manual_seed(seed)
    context, targets = context_and_targets(valid, **SETTING)
    flat = valid.flatten(1)
    assert not (context & ~flat).any()
    assert not (targets & ~flat).any()
    assert not (context & targets).any()
    assert context.any(1).all()
    assert targets.any(0).any(1).tolist() == [h * n > 1 for n in lengths]
    torch.manual_seed(seed)
    again = context_and_targets(valid, **SETTING)
    assert torch.equal(context, again[0])
    assert torch.equal(targets, again[1])


def test_blocks_of_a_sequence_are_spans_in_proportion_to_its_length():
    torch.manual_seed(0)
    valid = valid_of([40, 20] * 100, (1, 40))
    _, targets = context_and_targets(valid, **SETTING)
    assert all(is_rectangle(block[None]) for block in targets.flatten(0, 1))
    sizes = targets.sum(2)
    assert sizes[:, ::2].unique().tolist() == [6, 7, 8]
    assert sizes[:, 1::2].unique().tolist() == [3, 4]


def test_the_context_is_a_block_without_the_targets():
    torch.manual_seed(0)
    context, targets = context_and_targets(torch.ones(50, 14, 14, dtype=torch.bool), **SETTING)
    whole = (context | targets.any(0)).flatten(1).float().mean(1)
    assert whole.min() > 0.8
    assert context.float().mean() < 0.65
    assert context.sum(1).min() > 20


def test_valid_tokens_may_lie_anywhere():
    valid = torch.zeros(1, 4, 6, dtype=torch.bool)
    valid[:, 1:3, 2:6] = True
    context, targets = context_and_targets(valid.expand(50, -1, -1), **SETTING)
    assert not ((context | targets.any(0)) & ~valid.flatten(1)).any()
    assert (context | targets.any(0)).any(0).eq(valid.flatten(1)).all()


def test_tokens_lie_on_the_grid_row_by_row():
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    tokens = Tokens(torch.zeros(2, 6, 3), torch.zeros(1, 6, 3), mask)
    assert torch.equal(valid_on_grid(tokens, (2, 3))[1], torch.tensor([[True, True, True], [True, False, False]]))
    assert valid_on_grid(tokens, None).shape == (2, 1, 6)
    assert valid_on_grid(Tokens(tokens.x, tokens.positions), (3, 2)).all()
    with pytest.raises(RecipeError, match="grid of 2x4, but its views have 6 tokens"):
        valid_on_grid(tokens, (2, 4))


def test_a_block_that_wraps_covers_every_token_as_often():
    torch.manual_seed(0)
    blocks = block_mask(torch.ones(4000, 4, 6, dtype=torch.bool), (0.25, 0.25), (1.0, 1.0), wraps=True)
    assert blocks.flatten(1).sum(1).eq(6).all()
    often = blocks.float().mean(0)
    assert (often - 0.25).abs().max() < 0.04
    assert not all(is_rectangle(block) for block in blocks)
    assert all(is_rectangle(torch.roll(block, _first_gap(block), (0, 1))) for block in blocks[:50])


def _first_gap(block):
    """Return by how much to roll a block that wraps so that it begins behind the edges."""
    return [-int((~side).nonzero()[0]) if not side.all() else 0 for side in (block.any(1), block.any(0))]


def tokens_of(lengths, grid=None):
    h, w = grid or (1, max(lengths))
    mask = valid_of(lengths, (h, w)).flatten(1)
    return Tokens(torch.zeros(*mask.shape, 4), torch.zeros(1, mask.shape[1], 4), mask)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.sampled_from([0.05, 0.65, 0.98]), st.integers(0, 99))
def test_inverse_blocks_mask_some_tokens_and_leave_some(lengths, ratio, seed):
    torch.manual_seed(seed)
    tokens = tokens_of(lengths)
    masked = inverse_block_mask(View(None), tokens, None, ratio)
    assert not (masked & ~tokens.mask).any()
    for row, size in zip(masked, lengths, strict=True):
        assert (0 < row.sum() < size) if size > 1 else not row.any()


def test_inverse_blocks_have_the_given_ratio_on_a_grid_and_the_mask_of_a_view_comes_first():
    torch.manual_seed(0)
    tokens = tokens_of([14] * 200, (14, 14))
    masked = inverse_block_mask(View(None), tokens, (14, 14), 0.65)
    assert abs(masked.float().mean() - 0.65) < 0.01
    assert (masked.float().mean(0) - 0.65).abs().max() < 0.2
    given = torch.rand(200, 196) < 0.5
    assert torch.equal(inverse_block_mask(View(None, info={"masked": given}), tokens, (14, 14), 0.65), given)
