"""Predictive objectives: features of one part or view of a record, from features of another."""

from sensorium import hookimpl

sensorium_matrix = {
    "objectives/jepa": {"width": 96, "depth": 2},
    "objectives/lejepa": {"width": 256},
}
"""Narrow heads: what a few hundred steps on a thousand records can use."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the predictive objectives."""
    home = "sensorium.plugins.predictive"
    register("jepa", f"{home}.jepa:JEPA", summary="guess a teacher's features of blocks from the tokens around them")
    register("lejepa", f"{home}.lejepa:LeJEPA", summary="views predict each other, their features kept Gaussian")
