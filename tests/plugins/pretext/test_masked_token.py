import math

import torch

from sensorium.plugins.pretext.masked_token import MaskedToken
from tests.plugins.toy_token_modality import learner_of, losses_while_training, sequences, view_of


def problem(lengths=(12, 7, 2, 1, 5), dtype=torch.float32):
    batch = sequences(lengths, dtype=dtype)
    torch.manual_seed(0)
    chosen = batch.mask & (torch.rand(batch.mask.shape) < 0.5)
    return batch, batch.x.argmax(-1).masked_fill(~chosen, -100)


def test_loss_is_the_mean_over_hidden_tokens():
    learner, (batch, target) = learner_of(MaskedToken(), classes=True).double().eval(), problem(dtype=torch.float64)
    outcome = learner({"toy": [view_of(batch, target=target)]})
    logits = learner.objective.head(learner.encoders["toy"](batch).tokens).detach()
    costs = [
        float(logits[b, t].logsumexp(0) - logits[b, t, target[b, t]])
        for b in range(5)
        for t in range(12)
        if target[b, t] != -100
    ]
    assert len(costs) > 5
    assert math.isclose(outcome.loss.detach(), sum(costs) / len(costs), rel_tol=1e-9)
    assert math.isclose(outcome.logs["perplexity"], math.exp(sum(costs) / len(costs)), rel_tol=1e-6)
    # Whatever else the batch holds at tokens that are no target is not in the loss.
    everything = learner({"toy": [view_of(batch, target=batch.x.argmax(-1))]}).loss.detach()
    assert not math.isclose(outcome.loss.detach(), everything, rel_tol=1e-3)


def test_a_few_steps_lower_the_loss():
    batch, target = problem((12,) * 8)
    learner, views = learner_of(MaskedToken(), classes=True), {"toy": [view_of(batch, target=target)]}
    found = losses_while_training(learner, views, rate=1e-2)
    assert found[-1] < 0.3 * found[0], found


def test_nothing_hidden_half_precision_and_state():
    learner, (batch, target) = learner_of(MaskedToken(), classes=True), problem()
    nothing = learner({"toy": [view_of(batch, target=target.fill_(-100).clone())]})
    nothing.loss.backward()
    assert nothing.loss == 0
    batch, target = problem()
    other, found = learner_of(MaskedToken(), seed=1, classes=True), []
    other.load_state_dict(learner.state_dict())
    for model, enabled in ((learner, False), (other, False), (other, True)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(model({"toy": [view_of(batch, target=target)]}).loss)
    assert torch.equal(found[0], found[1])
    assert found[2].dtype == torch.float32
    assert torch.allclose(found[1], found[2], rtol=0.05)
