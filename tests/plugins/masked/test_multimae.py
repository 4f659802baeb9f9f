"""MultiMAE: records of several modalities, some of which are missing, and of one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sensorium import View
from sensorium.blocks.joint_trunk import RecordRows
from sensorium.errors import RecipeError, SensoriumError
from sensorium.models.learner import Learner
from sensorium.plugins.masked.multimae import MultiMAE
from tests.plugins.toy_token_modality import CHANNELS, LENGTH, SequenceEncoder, losses_while_training, sequences

SMALL = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1}
LENGTHS = (12, 7, 3, 2, 5, 9)
HAS_WORDS = np.array([True, False, True, True, False, True])


def learner(names=("waves", "words"), **options):
    torch.manual_seed(0)
    encoders = {name: SequenceEncoder(classes=name == "words") for name in names}
    return Learner(encoders, MultiMAE(**SMALL, **options)).train()


def views(lengths=LENGTHS, words=HAS_WORDS, seed=0, masked=None):
    """Waves of all records, words of some: another number of tokens each."""
    batch = sequences(lengths, seed)
    made = {"waves": [View(batch, modality="waves")]}
    rows = torch.from_numpy(np.flatnonzero(words))
    made["words"] = [View(batch.select(rows), modality="words", present=words)]
    for name, mask in zip(made, masked or (), strict=False):
        made[name][0].info["masked"] = mask
    return made


def loss_of(learner, views, seed=0):
    torch.manual_seed(seed)
    return learner(views)


@pytest.mark.parametrize("names", [("waves", "words"), ("waves",), ("words",)])
def test_a_few_steps_lower_the_loss(names):
    made = {name: of for name, of in views(words=np.ones(6, bool)).items() if name in names}
    found = losses_while_training(learner(names), made, 20, 1e-2)
    assert found[-1] < 0.8 * found[0], found


def test_masked_tokens_are_not_seen():
    """What a masked token holds changes the loss by its target alone: no prediction changes."""
    of, masked = learner(), torch.zeros(6, LENGTH, dtype=torch.bool)
    masked[:, 1::2] = True
    before, after = views(masked=(masked, masked[HAS_WORDS])), views(masked=(masked, masked[HAS_WORDS]))
    for name, (view,) in after.items():
        view.batch.x = torch.where(view.info["masked"][..., None], 7.0 + view.batch.x, view.batch.x)
        assert name in before
    made = [predictions_of(of, one) for one in (before, after)]
    assert made[0].keys() == {"waves", "words"}
    for name in made[0]:
        torch.testing.assert_close(made[0][name], made[1][name], rtol=0, atol=0)


def predictions_of(of, views):
    """Return what the decoders predict of each modality at valid tokens."""
    found = {}
    hooks = [
        decoder.register_forward_hook(lambda _, given, made, name=name: found.__setitem__(name, made[given[3]]))
        for name, decoder in of.objective.decoders.items()
    ]
    loss_of(of, views)
    for hook in hooks:
        hook.remove()
    return {name: made.detach() for name, made in found.items()}


def test_a_modality_is_predicted_from_the_other_one():
    """Words that are all masked: their prediction changes with the visible waves, and with no other record's."""
    of, hidden = learner(), torch.ones(4, LENGTH, dtype=torch.bool)
    shown = torch.zeros(6, LENGTH, dtype=torch.bool)
    shown[:, -1] = True
    before, after = views(words=HAS_WORDS), views(words=HAS_WORDS)
    for one in (before, after):
        one["words"][0].info["masked"], one["waves"][0].info["masked"] = hidden, shown
    after["waves"][0].batch.x = after["waves"][0].batch.x.clone()
    after["waves"][0].batch.x[2, 0] += 3  # the second record that has words
    a, b = (predictions_of(of, one)["words"].split([12, 3, 2, 9]) for one in (before, after))
    assert not torch.allclose(a[1], b[1])
    assert all(torch.equal(x, y) for x, y in zip((a[0], a[2], a[3]), (b[0], b[2], b[3]), strict=True))


def test_the_loss_is_the_mean_over_modalities_of_the_mean_over_their_masked_tokens():
    of = learner()
    masked = torch.arange(LENGTH) % 3 == 0
    made = views(masked=(masked.expand(6, -1), masked.expand(4, -1)))
    predicted = predictions_of(of, made)
    each = []
    for name, (view,) in made.items():
        at = (view.info["masked"] & view.batch.mask)[view.batch.mask]
        target, guess = view.batch.x[view.batch.mask][at], predicted[name][at]
        is_words = name == "words"
        each.append(F.cross_entropy(guess, target.argmax(-1)) if is_words else (guess - target).square().mean())
    outcome = loss_of(of, made)
    torch.testing.assert_close(outcome.loss.detach(), torch.stack(each).mean())
    torch.testing.assert_close(torch.stack([outcome.logs[f"{n}_loss"] for n in made]), torch.stack(each))


def test_a_modality_that_no_record_has_changes_nothing_and_keeps_its_gradients():
    both, alone = learner(), learner()
    nothing = np.zeros(6, bool)
    with_nothing, without = views(words=nothing), views()
    for one in (with_nothing, without):
        masked = torch.zeros(6, LENGTH, dtype=torch.bool)
        masked[:, ::2] = True
        one["waves"][0].info["masked"] = masked
    del without["words"]
    found = loss_of(both, with_nothing).loss
    torch.testing.assert_close(found, loss_of(alone, without).loss)
    found.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in both.parameters())


@pytest.mark.parametrize(
    "masked",
    [torch.zeros(6, LENGTH, dtype=torch.bool), torch.ones(6, LENGTH, dtype=torch.bool)],
    ids=["nothing masked", "everything masked"],
)
def test_records_that_show_all_or_nothing_have_finite_gradients(masked):
    of = learner()
    outcome = loss_of(of, views(masked=(masked, masked[:4])))
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert bool(outcome.loss == 0) == (not masked.any())
    assert all(p.grad.isfinite().all() for p in of.parameters())


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_no_record_and_of_one(rows):
    of, made = learner(), views(words=np.ones(6, bool))
    few = {name: [replace(v[0], batch=v[0].batch.select(torch.arange(rows)), present=None)] for name, v in made.items()}
    loss = loss_of(of, few).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in of.parameters())


def test_the_order_of_modalities_and_records_changes_nothing():
    of = learner()
    masked = torch.rand(6, LENGTH, generator=torch.Generator().manual_seed(0)) < 0.5
    made = views(masked=(masked, masked[HAS_WORDS]))
    found = loss_of(of, made).loss
    torch.testing.assert_close(loss_of(of, dict(reversed(made.items()))).loss, found)


def test_predict_tokens_sees_nothing_but_the_sources():
    of = learner().eval()
    encode = _encode(of)
    made, changed = views(), views()
    changed["words"][0].batch.x = changed["words"][0].batch.x.flip(2) + 1
    one, other = (of.objective.predict_tokens(v, encode, ["waves"], "words") for v in (made, changed))
    assert one.shape == (4, LENGTH, CHANNELS)
    assert torch.equal(one, other)
    changed["waves"][0].batch.x = -made["waves"][0].batch.x
    assert not torch.allclose(of.objective.predict_tokens(changed, encode, ["waves"], "words"), one)
    # A record without the source is predicted from nothing: as any other one of as many tokens.
    back = of.objective.predict_tokens(made, encode, ["words"], "waves")
    assert back.shape == (6, LENGTH, CHANNELS)
    absent = of.objective.predict_tokens(views(seed=5), encode, ["words"], "waves")
    assert torch.equal(back[[1, 4]], absent[[1, 4]])
    assert not torch.allclose(back[[0, 2]], absent[[0, 2]])


def _encode(of):
    from sensorium.models.learner import _Encode

    return _Encode(of.encoders, of.sharing)


def test_a_modality_is_embedded_in_the_width_of_the_trunk():
    of = learner()
    found = {name: of.encode(name, views()[name][0].batch)["embedding"] for name in ("waves", "words")}
    assert {x.shape[1] for x in found.values()} == {SMALL["width"]}


def test_causal_encoders_are_refused():
    with pytest.raises(RecipeError, match="both sides, and the encoder SequenceEncoder of 'waves' is causal: set"):
        Learner({"waves": SequenceEncoder(causal=True)}, MultiMAE(**SMALL))


def test_encoders_that_ignore_the_mask_of_tokens_are_refused():
    class Ignores(SequenceEncoder):
        def encode_tokens(self, tokens, keep=None):
            return replace(super().encode_tokens(replace(tokens, mask=None), keep), mask=None)

    of = Learner({"waves": Ignores()}, MultiMAE(**SMALL))
    with pytest.raises(RecipeError, match="which the encoder of 'waves' ignores"):
        of({"waves": views()["waves"]})


def test_views_of_different_numbers_of_records_are_refused():
    made = views(words=np.ones(6, bool))
    short = replace(made["words"][0], batch=made["words"][0].batch.select(torch.arange(3)), present=None)
    with pytest.raises(SensoriumError, match="different numbers of records \\(6 of 'waves', 3 of 'words'\\)"):
        learner()({**made, "words": [short]})


def test_rows_are_spread_over_records_and_picked_again():
    rows = RecordRows({name: of[0] for name, of in views().items()})
    x = torch.arange(1.0, 5)[:, None]
    spread = rows.spread("words", x)
    assert spread[:, 0].tolist() == [1, 0, 2, 3, 0, 4]
    assert torch.equal(rows.pick("words", spread), x)
    assert rows.pick("waves", spread) is spread


def test_half_precision_is_close():
    of = learner()
    whole = loss_of(of, views()).loss
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            half = loss_of(of, views()).loss
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, whole, rtol=0.03, atol=0.03)
