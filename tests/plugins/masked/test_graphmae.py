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


def loss_of(made, batch, hidden):
    torch.manual_seed(0)
    view = View(batch, info={"masked": hidden}, modality="graph", present=torch.ones(len(batch), dtype=torch.bool))
    return made.eval()({"graph": [view]}).loss


def test_what_is_hidden_is_seen_by_nobody():
    """Neither the encoder nor the decoder sees a hidden node: another class there changes the target alone."""
    made, batch = learner(), sample_batch()
    real = batch.padded(batch.x)[1]
    hidden = real & (torch.arange(real.shape[1]) == 0)
    other = sample_batch()
    other.x = batch.x.clone()
    other.x[batch.firsts, 1] = (batch.x[batch.firsts, 1] + 1) % 4  # the second column is no target
    assert torch.equal(loss_of(made, batch, hidden), loss_of(made, other, hidden))
    other.x = batch.x.clone()
    other.x[batch.firsts + 1 - (batch.sizes == 1).long(), 1] = 3
    assert not torch.equal(loss_of(made, batch, hidden), loss_of(made, other, hidden))


def test_the_code_is_hidden_too():
    """The mutant: without the second cover, what the encoder says of a hidden node reaches its guess."""
    made = learner().eval()
    seen = []
    made.objective.mixer.register_forward_pre_hook(lambda _, given: seen.append(given[0].x))
    batch = sample_batch()
    real = batch.padded(batch.x)[1]
    hidden = real & (torch.arange(real.shape[1]) == 0)
    loss_of(made, batch, hidden)
    assert (seen[0][hidden] == made.objective.second_token).all()
    assert not (seen[0][real & ~hidden] == made.objective.second_token).all(1).any()


@pytest.mark.parametrize("replace", [0.0, 1.0])
def test_hidden_tokens_may_show_others(replace):
    torch.manual_seed(0)
    made = Learner({"graph": GIN(fitted(), width=8, depth=2)}, GraphMAE(replace=replace))
    batch = sample_batch()
    real = batch.padded(batch.x)[1]
    loss_of(made, batch, real & (torch.arange(real.shape[1]) == 0)).backward()
    assert (made.objective.mask_token.grad.abs().sum() > 0) == (replace == 0)


@pytest.mark.parametrize("classes", [True, False])
def test_tokens_without_neighbors_are_decoded_by_a_transformer(classes):
    made = learner_of(GraphMAE(width=16, heads=2), classes=classes)
    outcome = made({"toy": [view_of(sequences())]})
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert all(p.grad is not None for p in made.parameters())


def test_a_ratio_of_all_is_refused():
    with pytest.raises(RecipeError, match="between 0 and 1"):
        GraphMAE(ratio=1.0)
