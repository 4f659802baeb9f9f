import math

import pytest
import torch

from sensorium.losses.masked import masked_regression, multimodal_reconstruction, reconstruction
from sensorium.losses.tokens import token_cross_entropy


def problem(b=3, t=5, p=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    predictions, targets = (2 * torch.randn(b, t, p, generator=rng, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(t) < torch.tensor([t, 1, 2, 3])[torch.arange(b) % 4, None]
    return predictions, targets, mask


def reference(predictions, targets, mask, penalty, beta=1.0):
    """He et al. 2022, section 3; Xie et al. 2022, eq. 1; Baevski et al. 2022, eq. 2."""
    total, count = 0.0, 0
    for b in range(predictions.shape[0]):
        for t in range(predictions.shape[1]):
            if not mask[b, t]:
                continue
            count += 1
            for prediction, target in zip(predictions[b, t].tolist(), targets[b, t].tolist(), strict=True):
                size = abs(prediction - target)
                if penalty == "l2":
                    cost = size**2
                elif penalty == "l1":
                    cost = size
                else:
                    cost = size**2 / (2 * beta) if size <= beta else size - beta / 2
                total += cost / predictions.shape[2]
    return total / count


CASES = [("l2", 1.0), ("l1", 1.0), ("smooth-l1", 1.0), ("smooth-l1", 2.0)]


@pytest.mark.parametrize(("penalty", "beta"), CASES)
def test_is_the_papers(penalty, beta):
    predictions, targets, mask = problem()
    found = masked_regression(predictions, targets, mask, penalty, beta)
    assert found.dtype == torch.float64
    assert math.isclose(found, reference(predictions, targets, mask, penalty, beta), rel_tol=1e-12)


def test_mutants_are_caught():
    """Mutants: all tokens counted, visible ones counted, rows weighted equally, P not divided by."""
    predictions, targets, mask = problem()
    right = reference(predictions, targets, mask, "l2")
    everything = torch.ones_like(mask)
    rows = [reference(predictions[i : i + 1], targets[i : i + 1], mask[i : i + 1], "l2") for i in range(3)]
    for wrong in (
        masked_regression(predictions, targets, everything),
        masked_regression(predictions, targets, ~mask),
        sum(rows) / 3,
        right * predictions.shape[2],
    ):
        assert not math.isclose(wrong, right, rel_tol=1e-3)


@pytest.mark.parametrize(("penalty", "beta"), CASES)
def test_gradient_is_that_of_the_value_and_is_zero_at_unmasked_tokens(penalty, beta):
    predictions, targets, mask = problem(2, 3, 2)
    predictions, targets = predictions.requires_grad_(), targets.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: masked_regression(x, y, mask, penalty, beta), (predictions, targets))
    masked_regression(predictions, targets, mask, penalty, beta).backward()
    assert predictions.grad[~mask].eq(0).all()
    assert predictions.grad[mask].ne(0).all()


def test_nothing_masked_is_zero_with_zero_gradient():
    predictions, targets, mask = problem()
    for tokens, none in ((5, mask & False), (0, mask[:, :0])):
        x = predictions[:, :tokens].clone().requires_grad_()
        loss = masked_regression(x, targets[:, :tokens], none)
        loss.backward()
        assert loss == 0
        assert x.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    predictions, targets, mask = problem(8, 16, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = masked_regression(predictions.to(dtype), targets.to(dtype), mask)
    assert found.dtype == torch.float32
    assert math.isclose(
        found, reference(predictions.to(dtype).double(), targets.to(dtype).double(), mask, "l2"), rel_tol=1e-5
    )


def test_reconstruction_of_class_ids_is_cross_entropy():
    predictions, targets, mask = problem()
    ids = targets.argmax(-1)
    assert torch.equal(reconstruction(predictions, ids, mask), token_cross_entropy(predictions, ids, mask))
    assert torch.equal(
        reconstruction(predictions, targets, mask, "l1"), masked_regression(predictions, targets, mask, "l1")
    )


def several(seed=0):
    """Return predictions, targets and masks of waves and words, of different numbers of records and tokens."""
    waves, words = problem(4, 5, 4, seed), problem(2, 7, 6, seed + 1)
    made = {"waves": waves, "words": (words[0], words[1].argmax(-1), words[2])}
    return tuple({name: parts[i] for name, parts in made.items()} for i in range(3))


def words_reference(logits, ids, mask):
    """Mean negative log-likelihood, token by token."""
    nats = [
        math.log(sum(math.exp(x) for x in logits[b, t].tolist())) - float(logits[b, t, ids[b, t]])
        for b in range(len(ids))
        for t in range(ids.shape[1])
        if mask[b, t]
    ]
    return sum(nats) / len(nats)


def test_several_modalities_have_the_mean_of_their_losses():
    predictions, targets, masks = several()
    loss, each = multimodal_reconstruction(predictions, targets, masks)
    waves = reference(predictions["waves"], targets["waves"], masks["waves"], "l2")
    words = words_reference(predictions["words"], targets["words"], masks["words"])
    assert math.isclose(loss, (waves + words) / 2, rel_tol=1e-12)
    assert (float(each["waves"]), float(each["words"])) == pytest.approx((waves, words), rel=1e-12)
    # Neither the sum over tokens of all modalities, nor a mean weighted by classes.
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    assert not math.isclose(loss, (waves * counts["waves"] + words * counts["words"]) / sum(counts.values()))


def test_an_absent_modality_and_a_wider_vocabulary_change_nothing():
    predictions, targets, masks = several()
    loss = multimodal_reconstruction(predictions, targets, masks)[0]
    nothing = torch.zeros(0, 7, 3, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    more = {"absent": nothing, "shown in full": hidden}
    absent = {name: torch.zeros(x.shape[:2], dtype=torch.bool) for name, x in more.items()}
    with_them = multimodal_reconstruction(
        predictions | more, targets | {n: x.detach() for n, x in more.items()}, masks | absent
    )[0]
    assert torch.equal(with_them, loss)
    with_them.backward()
    assert nothing.grad is not None
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))
    wide = torch.cat([predictions["words"], torch.full((2, 7, 9), -1e4, dtype=torch.float64)], dim=2)
    torch.testing.assert_close(
        multimodal_reconstruction(predictions | {"words": wide}, targets, masks)[0], loss, rtol=1e-12, atol=0
    )


def test_several_modalities_of_which_none_is_masked_have_a_loss_of_zero():
    predictions, targets, masks = several()
    predictions = {name: x.requires_grad_() for name, x in predictions.items()}
    loss, _ = multimodal_reconstruction(predictions, targets, {n: torch.zeros_like(m) for n, m in masks.items()})
    loss.backward()
    assert loss == 0
    assert all(torch.equal(x.grad, torch.zeros_like(x)) for x in predictions.values())


def test_the_gradient_of_several_modalities_is_that_of_the_value():
    predictions, targets, masks = several()

    def loss(waves, words):
        return multimodal_reconstruction({"waves": waves, "words": words}, targets, masks)[0]

    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in predictions.values()])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_several_modalities_in_half_precision_are_computed_in_fp32(dtype):
    predictions, targets, masks = several()
    half = {name: x.to(dtype) for name, x in predictions.items()}
    found = multimodal_reconstruction(half, targets, masks)[0]
    assert found.dtype == torch.float32
    whole = multimodal_reconstruction({name: x.double() for name, x in half.items()}, targets, masks)[0]
    torch.testing.assert_close(found.double(), whole, rtol=1e-5, atol=0)
