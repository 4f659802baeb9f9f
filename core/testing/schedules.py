"""Checks of learning rate schedules."""

from __future__ import annotations

import math

from sensorium.testing.checked_part import CheckedPart, expect

STEPS = 100


def gives_finite_factors(checked: CheckedPart) -> None:
    """The factor of the peak learning rate is a number, finite and not negative, at every step and for any length."""
    schedule = checked.build()
    for steps in (1, 7, STEPS):
        for step in (0, *range(steps), steps - 0.5):
            factor = schedule(float(step), float(steps))
            is_number = isinstance(factor, int | float) and math.isfinite(factor)
            expect(is_number and factor >= 0, f"at step {step} of {steps} the factor is {factor!r}")


def is_a_function_of_the_step(checked: CheckedPart) -> None:
    """A step has the same factor whatever was asked before, so that a resumed training goes on as it would have."""
    forward, backward = checked.build(), checked.build()
    asked = [forward(float(step), float(STEPS)) for step in range(STEPS)]
    again = [backward(float(step), float(STEPS)) for step in reversed(range(STEPS))][::-1]
    expect(asked == again, "a step has another factor when other steps are asked for before it: keep no state")


CHECKS = (gives_finite_factors, is_a_function_of_the_step)
