import torch

from sensorium.modalities.text.batch import PAD, TextBatch


def made(*lengths):
    return TextBatch.join([torch.arange(5, 5 + n) for n in lengths])


def test_join_pads_to_the_longest():
    batch = made(2, 4)
    assert batch.ids.tolist() == [[5, 6, PAD, PAD], [5, 6, 7, 8]]
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.ids.dtype == torch.int64
    assert batch.mask.dtype == torch.bool


def test_batches_of_different_lengths_concatenate():
    short, long = made(1, 2), made(5)
    assert short.shape_key() == long.shape_key()
    both = TextBatch.cat([short, long])
    assert both.ids.shape == (3, 5)
    assert both.mask.sum(1).tolist() == [1, 2, 5]
    assert both.ids[~both.mask].eq(PAD).all()
    assert torch.equal(both.ids[2], long.ids[0])


def test_a_joined_batch_is_a_pytree_that_moves():
    batch = made(2, 3).to("cpu")
    values, spec = torch.utils._pytree.tree_flatten(batch)
    assert [isinstance(value, torch.Tensor) for value in values] == [True, True, False]  # the last is the host's
    assert torch.equal(torch.utils._pytree.tree_unflatten(values, spec).ids, batch.ids)


def test_no_text_at_all_is_as_wide_as_the_batch():
    nothing = made(2, 3).select(torch.zeros(0, dtype=torch.int64))
    assert nothing.ids.shape == nothing.mask.shape == (0, 3)


def test_the_host_knows_the_lengths_of_texts_on_a_device():
    there = made(2, 3, 1).to("meta")  # has no values to read
    assert there.select(torch.tensor([2, 0])).ids.shape == (2, 2)
    assert TextBatch.cat([there, there]).select(torch.tensor([2, 5])).ids.shape == (2, 1)
    assert there.select(torch.tensor([2]).to("meta")).ids.shape == (1, 3), "rows that were picked on the device"
