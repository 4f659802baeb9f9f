"""A refactor must not move what an objective computes: its first losses on every modality stay what they were.

Bits differ between processors, so losses are compared with a tolerance of two in a thousand, ten of them or as many as
a change of the size of rounding leaves in place. A sign, a factor, a stopped gradient or a drawn number that comes at
another place moves them by far more, as the negative controls show.
"""

import pytest

from sensorium import losses
from tests.golden.pairs import FOLDER, TOLERANCE, Unserved, kept, losses_of, objectives, pairs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("objective", "names"), pairs(), ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_the_first_losses_are_what_they_were(objective, names):
    recorded = kept(objective).get("+".join(names))
    try:
        found = losses_of(objective, names)
    except Unserved as reason:
        if recorded is None:
            pytest.skip(str(reason))
        raise
    assert recorded is not None, "there are no recorded losses: run `make golden` and look at what it wrote"
    assert found[: len(recorded)] == pytest.approx(recorded, **TOLERANCE)


def test_no_file_is_left_of_an_objective_that_is_gone():
    assert {path.stem for path in FOLDER.glob("*.json")} <= set(objectives())


@pytest.mark.parametrize(
    ("objective", "modality", "loss", "mutant"),
    [
        ("simclr", "image", "hcl", lambda f: lambda a, b, t, **negatives: f(a, b, 1.02 * t, **negatives)),
        ("byol", "image", "negative_cosine", lambda f: lambda p, z: f(p, z.flip(0))),
        ("vicreg", "text", "vicreg", lambda f: lambda a, b, **w: f(a, b, **w | {"covariance": 1.1 * w["covariance"]})),
        ("mae", "image", "reconstruction", lambda f: lambda x, y, m: f(x, y, m, "l1")),
    ],
)
def test_a_small_change_is_noticed(objective, modality, loss, mutant, monkeypatch):
    monkeypatch.setattr(losses, loss, mutant(getattr(losses, loss)))
    recorded = kept(objective)[modality]
    assert losses_of(objective, (modality,))[: len(recorded)] != pytest.approx(recorded, **TOLERANCE)
