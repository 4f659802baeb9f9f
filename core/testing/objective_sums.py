"""Check of objectives as one of several: what they share with others they leave alone, and learn as they do alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sensorium.blocks.sum import Sum, Term
from sensorium.contracts import Encode, Encoders, Objective, TokenEncoder
from sensorium.models.learner import Learner
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.equality import close
from sensorium.testing.objective_case import case_of, run, without_dropout
from sensorium.types import Needs, Outcome

NAME = "checked"


class Reader(Objective):
    """Has every view encoded, before the others do, and keeps what it is given beside a copy of it."""

    needs = Needs(modalities="any", multicrop=True, negative_views=True)

    def build(self, encoders: Encoders) -> None:
        """Note the encoders; there is nothing to learn."""
        self.has_tokens = {name: isinstance(encoder, TokenEncoder) for name, encoder in encoders.items()}

    def forward(self, views: Any, encode: Encode) -> Outcome:
        """Return a loss of zero."""
        given: list[Tensor | None] = []
        for name, made in views.items():
            for features in encode(made):
                given += [features.pooled, features.tokens, features.mask]
            for view in made if self.has_tokens[name] else ():
                tokens = encode.tokenize(view)
                given += [tokens.x, tokens.positions, tokens.mask, encode.token_targets(view)]
        self.given = [x for x in given if x is not None]
        self.copies = [x.detach().clone() for x in self.given]
        return Outcome(sum((0.0 * x.sum() for x in self.given if x.requires_grad), torch.zeros(())))

    def changed(self) -> bool:
        """Whether somebody has written to what it was given."""
        pairs = zip(self.given, self.copies, strict=True)
        return not all(torch.equal(x.detach().nan_to_num(), kept.nan_to_num()) for x, kept in pairs)


def learns_the_same_as_one_of_several(checked: CheckedPart) -> None:
    """Beside an objective that encodes the same views, its loss and gradients are its own, and it writes to neither."""
    case = case_of(checked)
    views, alone = case.views(masked=True), without_dropout(case.learner())
    parts = replace(case.parts, objective=lambda: Sum([Reader(), Term(case.parts.objective(), name=NAME)]))
    among = without_dropout(parts.learner())
    _take_weights(among, alone)
    expected, found = run(alone, views), run(among, views)
    reader = among.objective.parts["reader"]  # type: ignore[operator]
    expected.loss.backward()
    found.loss.backward()
    expect(
        not reader.changed(),
        "it writes to features, tokens or targets that `encode` returned, which other objectives of a sum are given "
        "too: change a copy (x.clone(), torch.where)",
    )
    loss, own = float(found.loss.detach()), float(expected.loss.detach())
    expect(abs(loss - own) <= 1e-5 * max(1.0, abs(own)), f"as one of several its loss is {loss:.6f}, alone {own:.6f}")
    gradients = {_name_alone(n): p.grad for n, p in among.named_parameters() if p.grad is not None}
    for name, parameter in alone.named_parameters():
        if parameter.grad is not None:
            expect(
                name in gradients and close(gradients[name], parameter.grad),
                f"as one of several, the gradient of {name} is another than alone",
            )


def _take_weights(among: Learner, alone: Learner) -> None:
    """Give the one of several the weights that it has alone."""
    state = alone.state_dict()
    among.load_state_dict({name: state[_name_alone(name)] for name in among.state_dict()})


def _name_alone(name: str) -> str:
    """Return the name of a weight of the learner in which the objective is alone."""
    return name.replace(f"objective.terms.{NAME}.", "objective.", 1)


CHECKS = (learns_the_same_as_one_of_several,)
