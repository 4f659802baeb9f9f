"""wav2vec 2.0: span masks, distractors and the quantizer."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium import Tokens
from sensorium.blocks.masking import span_mask
from sensorium.errors import RecipeError
from sensorium.plugins.masked.distractors import sample_distractors
from sensorium.plugins.masked.quantizer import Quantizer
from sensorium.plugins.masked.wav2vec2 import Wav2Vec2
from tests.plugins.toy_token_modality import Sequences, learner_of, losses_while_training, sequences, view_of

SMALL = {"mask_probability": 0.2, "mask_length": 3, "codebook_size": 8, "dim": 16, "distractors": 10}


def tokens_of(lengths):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Tokens(torch.zeros(*mask.shape, 4), torch.zeros(1, mask.shape[1], 4), mask)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    probability=st.sampled_from([0.01, 0.2, 0.9]),
    length=st.sampled_from([1, 3, 10]),
    seed=st.integers(0, 99),
)
def test_span_masks_mask_some_tokens_and_leave_some(lengths, probability, length, seed):
    torch.manual_seed(seed)
    tokens = tokens_of(lengths)
    masked = span_mask(view_of(sequences()), tokens, probability, length)
    assert not (masked & ~tokens.mask).any()
    for row, size in zip(masked, lengths, strict=True):
        assert (0 < row.sum() < size) if size > 1 else not row.any()


def test_spans_have_the_given_length_and_probability():
    torch.manual_seed(0)
    masked = span_mask(view_of(sequences()), tokens_of([1000] * 20), 0.065, 10)
    assert abs(masked.float().mean() - (1 - (1 - 0.065) ** 10)) < 0.02
    edges = torch.nn.functional.pad(masked.int(), (1, 1)).diff(dim=1)
    starts, ends = (edges == 1).nonzero()[:, 1], (edges == -1).nonzero()[:, 1]
    assert ((ends - starts >= 10) | (ends == 1000)).all()


def test_the_mask_of_a_view_is_used():
    batch = sequences()
    given = torch.rand(batch.mask.shape) < 0.5
    masked = span_mask(view_of(batch, info={"masked": given}), tokens_of([12, 7, 2, 1, 5]), 0.1, 3)
    assert torch.equal(masked, given & batch.mask)


def test_distractors_are_other_masked_tokens_of_the_record():
    torch.manual_seed(0)
    mask = torch.tensor([[True, False, True, True, False], [False, True, False, False, False], [False] * 5])
    index, counted = sample_distractors(mask, 500)
    assert counted.tolist() == [[True, False, True, True, False], [False] * 5, [False] * 5]
    for token in (0, 2, 3):
        drawn = set(index[0, token].tolist())
        assert drawn == {0, 2, 3} - {token}
        assert abs((index[0, token] == min(drawn)).float().mean() - 0.5) < 0.1
    assert ((index >= 0) & (index < 5)).all()


def test_the_quantizer_picks_single_entries_and_passes_gradient_straight_through():
    torch.manual_seed(0)
    made = Quantizer(6, codebooks=2, size=5, out=8)
    x = torch.randn(7, 6, requires_grad=True)
    targets, probabilities, codes = made(x, torch.tensor(1.0))
    picked = torch.cat([made.entries[g][codes[:, g]] for g in range(2)], dim=1)
    torch.testing.assert_close(targets, made.project(picked))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(7, 2))
    targets.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert made.logits.weight.grad.abs().sum() > 0
    made.eval()
    best = made.logits(x).unflatten(-1, (2, 5)).argmax(-1)
    assert torch.equal(made(x, torch.tensor(1.0))[2], best)
    torch.manual_seed(1)
    assert torch.equal(made(x, torch.tensor(1.0))[2], best)


def test_gumbel_noise_samples_from_the_softmax():
    torch.manual_seed(0)
    made = Quantizer(6, 1, 5, 8)
    x = 3 * torch.randn(2000, 6)
    best = made.logits(x).argmax(-1)
    fraction = (made(x, torch.tensor(2.0))[2][:, 0] == best).float().mean()
    wanted = made.logits(x).softmax(-1).gather(1, best[:, None]).mean()  # the Gumbel-max trick
    assert abs(fraction - wanted) < 0.03


@pytest.mark.parametrize("lengths", [(12, 7, 2, 1, 5), (1,), (2, 1)])
def test_one_step_reaches_every_parameter(lengths):
    learner = learner_of(Wav2Vec2(**SMALL)).train()
    outcome = learner({"toy": [view_of(sequences(lengths))]})
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())


def test_training_lowers_the_loss_and_logs_the_codes():
    learner = learner_of(Wav2Vec2(**SMALL))
    views = {"toy": [view_of(sequences((12, 7, 2, 1, 5) * 3))]}
    found = losses_while_training(learner, views, 30)
    assert found[-1] < 0.5 * found[0]
    logs = learner(views).logs
    assert 1 <= logs["code_perplexity"] <= 8
    assert not any(value.requires_grad for value in logs.values())


def test_padding_is_ignored():
    batch = sequences()
    other = Sequences(torch.where(batch.mask[..., None], batch.x, -7e3), batch.mask)
    outcomes = []
    for each in (batch, other):
        learner = learner_of(Wav2Vec2(**SMALL)).train()
        torch.manual_seed(3)
        outcomes.append(learner({"toy": [view_of(each)]}).loss)
    torch.testing.assert_close(*outcomes)


def test_targets_come_from_before_the_encoder_and_predictions_do_not_see_them():
    """Other content of masked tokens changes the targets and no prediction."""
    learner = learner_of(Wav2Vec2(**SMALL)).eval()
    batch = sequences((12,))
    masked = torch.zeros(1, 12, dtype=torch.bool)
    masked[0, 3:7] = True
    changed = Sequences(torch.where(masked[..., None], batch.x.flip(1), batch.x), batch.mask)
    seen = []
    learner.objective.head.register_forward_hook(lambda _, given, made: seen.append(made.detach()))
    codes = []
    learner.objective.quantizer.register_forward_hook(lambda _, given, made: codes.append(given[0].detach()))
    for each in (batch, changed):
        torch.manual_seed(0)
        learner({"toy": [view_of(each, info={"masked": masked})]})
    torch.testing.assert_close(*seen)
    assert not torch.allclose(*codes)


def test_the_gumbel_temperature_decays_and_is_state():
    learner = learner_of(Wav2Vec2(gumbel_temperature=(2.0, 0.5), **SMALL))
    found = []
    for progress in (0.0, 0.5, 1.0):
        learner.objective.after_step(progress)
        found.append(float(learner.objective.gumbel_now))
    assert found == pytest.approx([2.0, 1.0, 0.5])
    other = learner_of(Wav2Vec2(**SMALL), seed=1)
    other.load_state_dict(learner.state_dict())
    assert other.objective.gumbel_now == 0.5


def test_half_precision_stays_near():
    losses = []
    for enabled in (False, True):
        learner = learner_of(Wav2Vec2(**SMALL)).eval()
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            losses.append(learner({"toy": [view_of(sequences())]}).loss)
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(*losses, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    "options",
    [{"mask_probability": 0.0}, {"mask_length": 0}, {"distractors": 0}, {"codebooks": 3}, {"codebook_size": 1}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(RecipeError):
        learner_of(Wav2Vec2(**options))
