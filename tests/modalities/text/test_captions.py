import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.captions import HardCaptions
from sensorium.modalities.text.views import free

FIRST = 5


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(tokenizer, texts):
    return TextBatch.join([torch.tensor([*tokenizer.start, *ids, *tokenizer.end]) for ids in texts])


texts = st.lists(st.lists(st.integers(FIRST, 12), min_size=1, max_size=7), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(texts, st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_wrong_form_differs_in_one_token_or_in_the_places_of_two(modality, given_texts, seed, order):
    special = modality.tokenizer.special
    batch, generator = batch_of(modality.tokenizer, given_texts), HardCaptions(modality, corrupted=2, order=order)
    before, state = batch.ids.clone(), torch.get_rng_state()
    plain, *wrong = generator(batch, rng(seed))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch.ids, before)
    assert (generator.views, generator.negative_views, len(wrong)) == (1, 2, 2)
    assert not plain.is_negative
    assert torch.equal(plain.batch.ids, batch.ids)
    again = generator(batch, rng(seed))[1:]
    for view, same in zip(wrong, again, strict=True):
        assert view.is_negative
        assert torch.equal(view.batch.ids, same.batch.ids)
        assert torch.equal(view.batch.mask, batch.mask)
        changed = view.batch.ids != batch.ids
        assert not changed[~free(batch, special)].any()
        for row, was in enumerate(given_texts):
            count = int(changed[row].sum())
            swapped = sorted(view.batch.ids[row].tolist()) == sorted(batch.ids[row].tolist())
            assert count == (2 if swapped else 1)
            if order == 1.0 and len(set(was)) > 1:
                assert swapped
            if order == 0.0 or len(set(was)) == 1:
                assert not swapped


def test_foreign_tokens_are_of_the_batch(modality):
    batch = batch_of(modality.tokenizer, [[5, 6, 7], [8, 9, 10], [11, 12, 13]])
    seen = set()
    for seed in range(30):
        made = HardCaptions(modality, order=0.0).corrupt(batch, rng(seed))
        seen |= set(made.ids[0][made.ids[0] != batch.ids[0]].tolist())
    assert seen <= set(range(5, 14))
    assert len(seen) > 5


def test_a_text_without_words_stays(modality):
    empty = batch_of(modality.tokenizer, [[], [5]])
    made = HardCaptions(modality).corrupt(empty, rng())
    assert torch.equal(made.ids[0], empty.ids[0])
    assert not torch.equal(made.ids[1], empty.ids[1])


@pytest.fixture(scope="module")
def long(modality):
    return batch_of(modality.tokenizer, [list(range(5, 12))] * 400)


def test_both_kinds_come_as_often_as_asked(modality, long):
    made = HardCaptions(modality, order=0.25).corrupt(long, rng())
    swapped = (made.ids.sort(1).values == long.ids.sort(1).values).all(1).float().mean()
    assert 0.18 < swapped < 0.32
