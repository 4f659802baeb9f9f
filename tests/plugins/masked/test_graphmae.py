import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.graph.encoders.gin import GIN
from sensorium.models.learner import Learner
from sensorium.plugins.masked.graphmae import GraphMAE
from sensorium.types import View
from tests.modalities.graph.graphs import fitted, sample_batch
from tests.plugins.toy_token_modality import learner_of, sequences, view_of


def learner():
    torch.manual_seed(0)
    return Learner({"graph": GIN(fitted(), width=8, depth=2)}, GraphMAE())


def loss_of(made, batch, masked):
    torch.manual_seed(0)
    view = View(batch, info={"masked": masked}, modality="graph")
    return made.eval()({"graph": [view]}).loss


def test_masked_nodes_are_seen_by_neither_encoder_nor_decoder():
    """Another class of a masked node changes the target alone."""
    made, batch = learner(), sample_batch()
    valid = batch.padded(batch.x)[1]
    masked = valid & (torch.arange(valid.shape[1]) == 0)
    other = sample_batch()
    other.x = batch.x.clone()
    other.x[batch.first_node, 1] = (batch.x[batch.first_node, 1] + 1) % 4  # the second column is no target
    assert torch.equal(loss_of(made, batch, masked), loss_of(made, other, masked))
    other.x = batch.x.clone()
    other.x[batch.first_node + 1 - torch.from_numpy(batch.sizes == 1).long(), 1] = 3
    assert not torch.equal(loss_of(made, batch, masked), loss_of(made, other, masked))


def test_the_code_is_masked_too():
    """The mutant: without the second mask, the code of a masked node reaches its prediction."""
    made = learner().eval()
    seen = []
    made.objective.mixer.register_forward_pre_hook(lambda _, given: seen.append(given[0].x))
    batch = sample_batch()
    valid = batch.padded(batch.x)[1]
    masked = valid & (torch.arange(valid.shape[1]) == 0)
    loss_of(made, batch, masked)
    assert (seen[0][masked] == made.objective.remask_token).all()
    assert not (seen[0][valid & ~masked] == made.objective.remask_token).all(1).any()


@pytest.mark.parametrize("replace", [0.0, 1.0])
def test_masked_tokens_may_be_replaced_with_others(replace):
    torch.manual_seed(0)
    made = Learner({"graph": GIN(fitted(), width=8, depth=2)}, GraphMAE(replace_ratio=replace))
    batch = sample_batch()
    valid = batch.padded(batch.x)[1]
    loss_of(made, batch, valid & (torch.arange(valid.shape[1]) == 0)).backward()
    assert (made.objective.mask_token.grad.abs().sum() > 0) == (replace == 0)


@pytest.mark.parametrize("classes", [True, False])
def test_tokens_without_neighbors_are_decoded_by_a_transformer(classes):
    made = learner_of(GraphMAE(width=16, heads=2), classes=classes)
    outcome = made({"toy": [view_of(sequences())]})
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert all(p.grad is not None for p in made.parameters())


def test_a_mask_ratio_of_1_is_refused():
    with pytest.raises(RecipeError, match="option 'mask_ratio' of the objective 'graphmae'"):
        GraphMAE(mask_ratio=1.0)
