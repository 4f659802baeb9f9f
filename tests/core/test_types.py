from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sensorium import Batch, Features, Record, Tokens, take_tokens
from sensorium.types import record_keys
from tests.toys import VectorBatch


@dataclass
class MaskedBatch(Batch):
    values: Tensor
    mask: Tensor | None = None


def test_a_batch_selects_joins_and_measures_itself():
    batch = MaskedBatch(torch.arange(12.0).view(4, 3), torch.tensor([True, False, True, True]))
    assert len(batch) == 4
    assert batch.select(torch.tensor([2, 0])).values[:, 0].tolist() == [6, 0]
    assert batch.select(batch.mask).values.shape == (3, 3)
    joined = MaskedBatch.cat([batch, batch.select(torch.tensor([1]))])
    assert len(joined) == 5
    assert joined.mask.tolist() == [True, False, True, True, False]
    assert MaskedBatch(torch.zeros(2, 3)).mask is None
    assert len(MaskedBatch.cat([MaskedBatch(torch.zeros(2, 3))] * 2)) == 4


def test_only_batches_of_one_shape_run_together():
    three, four = VectorBatch(torch.zeros(2, 3)), VectorBatch(torch.zeros(2, 4))
    assert three.shape_key() == VectorBatch(torch.zeros(7, 3)).shape_key()
    assert three.shape_key() != four.shape_key()
    assert three.shape_key() != MaskedBatch(torch.zeros(2, 3)).shape_key()
    assert three.shape_key() != VectorBatch(torch.zeros(2, 3, dtype=torch.float64)).shape_key()


def test_a_batch_is_a_tree_of_its_tensors():
    doubled = tree_map(lambda tensor: tensor * 2, VectorBatch(torch.ones(2, 3)))
    assert isinstance(doubled, VectorBatch)
    assert doubled.values.sum() == 12


def test_features_split_with_what_they_have():
    first, second = Features(torch.arange(5.0)[:, None], torch.zeros(5, 2, 3), torch.ones(5, 2)).split([2, 3])
    assert first.pooled.flatten().tolist() == [0, 1]
    assert second.tokens.shape == (3, 2, 3)
    assert Features(torch.zeros(3, 2)).split([1, 2])[1].mask is None


def test_tokens_at_an_index():
    x, index = torch.arange(24).view(2, 4, 3), torch.tensor([[3, 0], [1, 1]])
    expected = torch.stack([x[0, [3, 0]], x[1, [1, 1]]])
    assert torch.equal(take_tokens(x, index), expected)
    assert torch.equal(take_tokens(x[..., 0], index), expected[..., 0])
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    features = Features(torch.zeros(2, 3), x, mask).take(index)
    assert torch.equal(features.tokens, expected)
    assert features.mask.tolist() == [[False, True], [True, True]]
    tokens = Tokens(x, torch.arange(12).view(1, 4, 3), mask).take(index)
    assert torch.equal(tokens.x, expected)
    assert tokens.mask.tolist() == [[False, True], [True, True]]
    assert torch.equal(tokens.positions, torch.arange(12).view(4, 3)[index])


def test_tokens_are_valid_without_a_mask():
    x, mask = torch.zeros(2, 4, 3), torch.tensor([[True, False, False, False], [True, True, False, False]])
    assert Tokens(x, x).valid().all()
    assert Tokens(x, x).valid().shape == (2, 4)
    assert Tokens(x, x).take(torch.tensor([[0], [1]])).mask is None
    assert Features(x[:, 0], x).valid().dtype == torch.bool
    assert torch.equal(Tokens(x, x, mask).valid(), mask)
    assert torch.equal(Features(x[:, 0], x, mask).valid(), mask)


def test_keys_are_equal_where_records_groups_and_labels_are():
    records = [
        Record("a", {}, {"kind": 1, "tone": float("nan")}, group="g"),
        Record("b", {}, {"kind": 1}, group="g"),
        Record("c", {}, {"kind": 2, "tone": "dark"}),
    ]
    keys = record_keys(records)
    assert set(keys) == {"record", "group", "label:kind", "label:tone"}
    assert len(set(keys["record"].tolist())) == 3
    assert keys["group"][0] == keys["group"][1] != keys["group"][2]
    assert keys["group"][2] == keys["record"][2]  # a group of its own
    assert keys["label:kind"][0] == keys["label:kind"][1] != keys["label:kind"][2]
    assert torch.equal(keys["label:tone"][:2], keys["record"][:2])  # no label: nobody's like but its own
    assert all((column >= 0).all() for column in keys.values())
    assert torch.equal(record_keys(records[2:])["label:tone"], keys["label:tone"][2:])  # the same in another batch
