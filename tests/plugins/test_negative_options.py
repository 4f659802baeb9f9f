"""Every option of negatives changes the loss of an objective that takes it, or is refused by name."""

from dataclasses import fields

import pytest
import torch

from sensorium import NegativeOptions
from sensorium.errors import RecipeError
from sensorium.plugins.contrastive.moco import MoCo
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.plugins.crossmodal.align import Align
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.plugins.crossmodal.siglip import SigLIP
from sensorium.seeding import seed_globals
from tests.plugins.crossmodal.test_align import PRESENT, learner as cross_modal_learner
from tests.plugins.crossmodal.test_clip import known
from tests.plugins.joint_embedding import learner_of, views_of

PAIR = {name: PRESENT[name] for name in ("a", "b")}
MIXED = {"memory": 16, "mixed": 6}
SETTINGS = {
    "beta": ({}, {"beta": 0.5}),
    "alpha": ({}, {"alpha": 0.5}),
    "prior": ({}, {"prior": 0.05}),
    "exclude": ({}, {"exclude": "group"}),
    "guide": ({}, {"guide": "a", "margin": 1.5}),
    "margin": ({"guide": "a"}, {"guide": "a", "margin": 1.5}),
    "memory": ({}, {"memory": 16}),
    "mixed": ({"memory": 16}, MIXED),
    "hardest": (MIXED, MIXED | {"hardest": 2}),
    "warmup": (MIXED, MIXED | {"warmup": (0.4, 0.8)}),
}
"""Option -> options without and with it."""
OBJECTIVES = {"simclr": SimCLR, "moco": MoCo, "clip": CLIP, "siglip": SigLIP, "align": Align}
REFUSED = {"moco": {"guide", "margin", "memory"}, "siglip": {"beta", "alpha", "prior", "guide", "margin"}}
UNIMODAL = ("simclr", "moco")


def loss_of(name, options):
    """The loss of a second step, whose memory the first one has filled."""
    if name == "moco":  # its queue is its memory
        options = {key: value for key, value in options.items() if key != "memory"}
    negatives = NegativeOptions(**options)
    if name in UNIMODAL:
        learner, views = learner_of(name, negatives=negatives), views_of(name)
        for view in views["a"]:
            view.keys["group"] = torch.arange(len(view)) // 2
    else:
        learner, views = cross_modal_learner(OBJECTIVES[name](dim=8, negatives=negatives), tuple(PAIR)), known()
    learner(views)
    learner.objective.after_step(0.0)
    seed_globals("second step")
    return learner(views).loss


def test_the_table_has_every_option():
    assert set(SETTINGS) == {field.name for field in fields(NegativeOptions)}


@pytest.mark.parametrize("option", SETTINGS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_option_changes_the_loss_or_is_refused(name, option):
    without, with_it = SETTINGS[option]
    if option in REFUSED.get(name, ()):
        first = option if option != "margin" else "guide"  # which margin needs
        with pytest.raises(RecipeError, match=rf"'{name}' makes no use of negatives\.{first}: leave it out"):
            OBJECTIVES[name](negatives=NegativeOptions(**with_it))
    else:
        rtol = 1e-6 if name in UNIMODAL else 1e-9  # the towers of two modalities are double
        assert not torch.allclose(loss_of(name, without), loss_of(name, with_it), rtol=rtol)


@pytest.mark.parametrize(
    ("options", "needed"),
    [({"margin": 0.5}, "guide"), ({"memory": 16, "hardest": 2}, "mixed"), ({"warmup": (0.0, 0.5)}, "beta or mixed")],
)
def test_an_option_without_the_one_that_it_needs_is_refused(options, needed):
    with pytest.raises(RecipeError, match=rf"has no effect without {needed}"):
        NegativeOptions(**options)
