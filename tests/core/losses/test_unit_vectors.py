import pytest
import torch

from sensorium.losses import unit_vectors as rows


@pytest.mark.parametrize("run", [2048, 4])
def test_unit_rows_and_their_gradient_are_those_of_a_division_by_the_length(run, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", run)  # the second divides nothing
    x_ND, weights_ND = torch.randn(2, 11, 5, dtype=torch.float64)
    found, expected = (x_ND.clone().requires_grad_() for _ in range(2))
    plain_ND = expected / expected.pow(2).sum(1, keepdim=True).sqrt()
    assert torch.allclose(rows.normalize_rows(found), plain_ND)
    for leaf, unit_ND in ((found, rows.normalize_rows(found)), (expected, plain_ND)):
        (weights_ND * unit_ND).sum().backward()
        assert leaf.grad is not None
    assert torch.allclose(found.grad, expected.grad)


def test_a_zero_row_stays_zero_and_has_no_gradient():
    x_ND = torch.zeros(2, 3, requires_grad=True)
    rows.normalize_rows(x_ND).sum().backward()
    assert (rows.normalize_rows(x_ND) == 0).all()
    assert (x_ND.grad == 0).all()


def test_the_gradient_that_comes_in_is_left_as_it_was():
    x_ND, grad_ND = torch.randn(2, 4, 3)
    given_ND = grad_ND.clone()
    rows.normalize_rows(x_ND.requires_grad_()).backward(given_ND)
    assert torch.equal(given_ND, grad_ND)


def test_no_rows_have_no_gradient():
    x_ND = torch.zeros(0, 3, requires_grad=True)
    rows.normalize_rows(x_ND).sum().backward()
    assert x_ND.grad.shape == (0, 3)
