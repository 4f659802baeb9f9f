from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sensorium import Batch, Features
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
