from itertools import chain, permutations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import PAD, TextBatch
from sensorium.modalities.text.modality import TextModality
from sensorium.modalities.text.views import (
    DeletionViews,
    DropoutViews,
    LocalShuffleViews,
    NoisyViews,
    PermutationViews,
    PlainViews,
    RandomTokenMaskViews,
    SpanMaskViews,
    text_tokens,
)

MAKERS = [
    PlainViews,
    DropoutViews,
    RandomTokenMaskViews,
    SpanMaskViews,
    DeletionViews,
    LocalShuffleViews,
    NoisyViews,
    PermutationViews,
]
FIRST = 5  # ordinary ids in the batches below start here


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def texts(tokenizer, lengths):
    """Texts of distinct ordinary tokens between start and end, as a batch."""
    return TextBatch.join([torch.tensor([*tokenizer.start, *range(FIRST, FIRST + n), *tokenizer.end]) for n in lengths])


def ordinary(batch, row, special):
    return [i for i in batch.ids[row][batch.mask[row]].tolist() if i not in special]


any_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)
seeds = st.integers(0, 2**32)


@settings(max_examples=25, deadline=None)
@given(lengths=any_lengths, seed=seeds, maker=st.sampled_from(MAKERS))
def test_properties_of_every_view(modality, lengths, seed, maker):
    """Input untouched, seeded, padding padded, valid tokens first, start and end in place, no global randomness."""
    batch, generator = texts(modality.tokenizer, lengths), maker(modality)
    before, state = (batch.ids.clone(), batch.mask.clone()), torch.get_rng_state()
    views, again = generator(batch, rng(seed)), generator(batch, rng(seed))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch.ids, before[0])
    assert torch.equal(batch.mask, before[1])
    assert len(views) == generator.views == maker.views
    for view, same in zip(views, again, strict=True):
        made, count_B = view.batch, view.batch.mask.sum(1)
        assert torch.equal(made.ids, same.batch.ids)
        assert made.ids[~made.mask].eq(PAD).all()
        assert torch.equal(made.mask, torch.arange(made.mask.shape[1]) < count_B[:, None])
        assert made.ids[:, 0].eq(modality.tokenizer.start[0]).all()
        assert made.ids.gather(1, count_B[:, None] - 1).eq(modality.tokenizer.end[0]).all()
        assert (
            text_tokens(made, modality.tokenizer.special).any(1) | made.ids.eq(modality.tokenizer.mask).any(1)
        ).all()
        assert (view.target is not None) == (generator.target is not None)


def test_plain_and_dropout_are_the_text_itself(modality, batch):
    (plain,) = PlainViews(modality)(batch, rng())
    assert torch.equal(plain.batch.ids, batch.ids)
    copies = DropoutViews(modality, views=3)(batch, rng())
    assert len(copies) == 3
    assert all(torch.equal(view.batch.ids, batch.ids) for view in copies)


@settings(max_examples=30, deadline=None)
@given(
    lengths=any_lengths,
    seed=seeds,
    mask_ratio=st.floats(0.05, 0.9),
    maker=st.sampled_from([RandomTokenMaskViews, SpanMaskViews]),
)
def test_the_mask_ratio_is_exact(modality, lengths, seed, mask_ratio, maker):
    batch = texts(modality.tokenizer, lengths)
    (view,) = maker(modality, mask_ratio=mask_ratio)(batch, rng(seed))
    masked_BT = view.info["masked"]
    is_text_BT = text_tokens(batch, modality.tokenizer.special)
    assert not (masked_BT & ~is_text_BT).any()
    wanted_B = (mask_ratio * is_text_BT.sum(1)).round().clamp(min=1)
    assert torch.equal(masked_BT.sum(1).float(), wanted_B.float())
    assert torch.equal(view.target, torch.where(masked_BT, batch.ids, -100))
    assert torch.equal(view.batch.ids[~masked_BT], batch.ids[~masked_BT])
    assert torch.equal(view.batch.mask, batch.mask)


def test_masked_tokens_follow_the_80_10_10_rule(modality):
    batch = TextBatch(torch.full((200, 200), 7), torch.ones(200, 200, dtype=torch.bool))
    (view,) = RandomTokenMaskViews(modality, mask_ratio=0.5)(batch, rng())
    found = view.batch.ids[view.info["masked"]]
    assert abs((found == modality.tokenizer.mask).float().mean() - 0.8) < 0.015
    assert abs((found == 7).float().mean() - 0.1) < 0.015
    replaced = found[(found != 7) & (found != modality.tokenizer.mask)]
    assert not set(replaced.tolist()) & set(modality.tokenizer.special)
    assert replaced.max() == modality.tokenizer.size - 1
    assert len(replaced.unique()) > 0.9 * (modality.tokenizer.size - len(modality.tokenizer.special))


def runs(mask_T):
    found, length = [], 0
    for masked in [*mask_T.tolist(), False]:
        if masked:
            length += 1
        elif length:
            found.append(length)
            length = 0
    return found


def test_span_masks_are_contiguous_and_random_ones_are_not(modality):
    batch = TextBatch(torch.full((64, 400), 7), torch.ones(64, 400, dtype=torch.bool))

    def mean_run(generator):
        (view,) = generator(batch, rng())
        lengths = [n for row in view.info["masked"] for n in runs(row)]
        return sum(lengths) / len(lengths)

    assert mean_run(RandomTokenMaskViews(modality)) < 1.3
    # The mean of min(geometric(1 / 5), 10) is 4.46; adjacent spans merge.
    assert 3.8 < mean_run(SpanMaskViews(modality)) < 6
    assert mean_run(SpanMaskViews(modality, mean_span=1)) < 1.3


@settings(max_examples=30, deadline=None)
@given(lengths=any_lengths, seed=seeds, p=st.floats(0.05, 0.95))
def test_deletion_keeps_the_order_and_at_least_one_token(modality, lengths, seed, p):
    batch = texts(modality.tokenizer, lengths)
    for view in DeletionViews(modality, p=p)(batch, rng(seed)):
        for row, length in enumerate(lengths):
            left = ordinary(view.batch, row, modality.tokenizer.special)
            assert left
            assert left == sorted(set(left))
            assert set(left) <= set(range(FIRST, FIRST + length))


def test_deletion_has_its_probability(modality):
    batch = texts(modality.tokenizer, [200] * 200)
    one, other = DeletionViews(modality, p=0.3)(batch, rng())
    assert abs((one.batch.mask.sum() - 400) / 40_000 - 0.7) < 0.01
    assert not torch.equal(one.batch.ids, other.batch.ids)
    assert len({tuple(row) for row in one.batch.mask.sum(1, keepdim=True).tolist()}) > 5  # drawn per example


@settings(max_examples=30, deadline=None)
@given(lengths=any_lengths, seed=seeds, distance=st.integers(0, 6))
def test_local_shuffle_moves_no_token_far(modality, lengths, seed, distance):
    batch = texts(modality.tokenizer, lengths)
    for view in LocalShuffleViews(modality, distance=distance)(batch, rng(seed)):
        for row, length in enumerate(lengths):
            moved = ordinary(view.batch, row, modality.tokenizer.special)
            assert sorted(moved) == list(range(FIRST, FIRST + length))
            assert all(abs(position - (i - FIRST)) <= distance for position, i in enumerate(moved))


def test_local_shuffle_moves_tokens(modality):
    batch = texts(modality.tokenizer, [30] * 4)
    one, other = LocalShuffleViews(modality)(batch, rng())
    assert (one.batch.ids != batch.ids).float().mean() > 0.3
    assert not torch.equal(one.batch.ids, other.batch.ids)


def test_special_tokens_within_a_text_stay_in_place(modality):
    special = modality.tokenizer.end[0]
    ids = torch.tensor([[special, 10, 11, special, 12, 13, 14, special]])
    batch = TextBatch(ids, torch.ones_like(ids, dtype=torch.bool))
    for seed in range(10):
        (view, _) = LocalShuffleViews(modality)(batch, rng(seed))
        assert torch.equal(view.batch.ids == special, ids == special)
        (view,) = SpanMaskViews(modality, mask_ratio=0.9)(batch, rng(seed))
        assert not view.info["masked"][ids == special].any()


def test_noisy_deletes_and_shuffles(modality):
    batch = texts(modality.tokenizer, [40] * 8)
    for view in NoisyViews(modality, p=0.3)(batch, rng()):
        left = [ordinary(view.batch, row, modality.tokenizer.special) for row in range(8)]
        assert all(len(tokens) < 40 for tokens in left)
        assert any(tokens != sorted(tokens) for tokens in left)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1])
@pytest.mark.parametrize(
    ("maker", "option"),
    [(RandomTokenMaskViews, "mask_ratio"), (SpanMaskViews, "mask_ratio"), (DeletionViews, "p"), (NoisyViews, "p")],
)
def test_a_fraction_outside_0_to_1_is_refused(modality, maker, option, value):
    with pytest.raises(RecipeError, match=f"'{option}'.*must be above 0 and below 1"):
        maker(modality, **{option: value})


def test_masking_needs_a_mask_token():
    with pytest.raises(RecipeError, match="mask token"):
        RandomTokenMaskViews(TextModality("open_clip"))


@settings(max_examples=25, deadline=None)
@given(lengths=any_lengths, seed=seeds, segments=st.integers(2, 4))
def test_permutation_permutes_segments_and_its_target_is_the_permutation(modality, lengths, seed, segments):
    batch, special = texts(modality.tokenizer, lengths), modality.tokenizer.special
    (view,) = PermutationViews(modality, segments=segments)(batch, rng(seed))
    orders = list(permutations(range(segments)))
    assert view.target.shape == (len(lengths),)
    for row, n in enumerate(lengths):
        order, parts = orders[view.target[row]], [[] for _ in range(segments)]
        for i in range(n):
            parts[order[i * segments // n]].append(FIRST + i)
        assert ordinary(view.batch, row, special) == list(chain(*parts))


def test_every_permutation_is_drawn_and_segments_are_checked(modality):
    batch = texts(modality.tokenizer, [9] * 200)
    assert PermutationViews(modality)(batch, rng())[0].target.unique().tolist() == list(range(6))
    for segments in (1, 6):
        with pytest.raises(RecipeError, match=r"'segments' .* must be between 2 and 5"):
            PermutationViews(modality, segments=segments)
