import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.hard_negative_captions import HardNegativeCaptionViews
from sensorium.modalities.text.views import text_tokens

FIRST = 5


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(tokenizer, texts):
    return TextBatch.join([torch.tensor([*tokenizer.start, *ids, *tokenizer.end]) for ids in texts])


texts = st.lists(st.lists(st.integers(FIRST, 12), min_size=1, max_size=7), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(texts, st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_corrupted_caption_has_one_token_replaced_or_two_swapped(modality, given_texts, seed, swap):
    special = modality.tokenizer.special
    batch = batch_of(modality.tokenizer, given_texts)
    generator = HardNegativeCaptionViews(modality, corrupted=2, swap=swap)
    before, state = batch.ids.clone(), torch.get_rng_state()
    plain, *corrupted = generator(batch, rng(seed))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch.ids, before)
    assert (generator.views, generator.negative_views, len(corrupted)) == (1, 2, 2)
    assert not plain.is_negative
    assert torch.equal(plain.batch.ids, batch.ids)
    again = generator(batch, rng(seed))[1:]
    for view, same in zip(corrupted, again, strict=True):
        assert view.is_negative
        assert torch.equal(view.batch.ids, same.batch.ids)
        assert torch.equal(view.batch.mask, batch.mask)
        changed = view.batch.ids != batch.ids
        assert not changed[~text_tokens(batch, special)].any()
        for row, was in enumerate(given_texts):
            count = int(changed[row].sum())
            swapped = sorted(view.batch.ids[row].tolist()) == sorted(batch.ids[row].tolist())
            assert count == (2 if swapped else 1)
            if swap == 1.0 and len(set(was)) > 1:
                assert swapped
            if swap == 0.0 or len(set(was)) == 1:
                assert not swapped


def test_replacements_are_tokens_of_the_batch(modality):
    batch = batch_of(modality.tokenizer, [[5, 6, 7], [8, 9, 10], [11, 12, 13]])
    seen = set()
    for seed in range(30):
        made = HardNegativeCaptionViews(modality, swap=0.0).corrupt(batch, rng(seed))
        seen |= set(made.ids[0][made.ids[0] != batch.ids[0]].tolist())
    assert seen <= set(range(5, 14))
    assert len(seen) > 5


def test_a_text_without_text_tokens_is_not_changed(modality):
    empty = batch_of(modality.tokenizer, [[], [5]])
    made = HardNegativeCaptionViews(modality).corrupt(empty, rng())
    assert torch.equal(made.ids[0], empty.ids[0])
    assert not torch.equal(made.ids[1], empty.ids[1])


@pytest.fixture(scope="module")
def long(modality):
    return batch_of(modality.tokenizer, [list(range(5, 12))] * 400)


def test_swaps_have_their_probability(modality, long):
    made = HardNegativeCaptionViews(modality, swap=0.25).corrupt(long, rng())
    swapped = (made.ids.sort(1).values == long.ids.sort(1).values).all(1).float().mean()
    assert 0.18 < swapped < 0.32
