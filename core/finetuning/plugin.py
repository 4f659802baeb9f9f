"""Registers the built-in fine-tuning tasks."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_tasks(register):
    """Register the built-in tasks."""
    register(
        "classification", "sensorium.finetuning.tasks:Classification", summary="one of several classes, cross-entropy"
    )
    register(
        "multitask",
        "sensorium.finetuning.tasks:MultitaskClassification",
        summary="binary classification in several label columns, missing labels allowed",
    )
    register("regression", "sensorium.finetuning.tasks:Regression", summary="a number, squared error")
