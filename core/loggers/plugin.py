"""The built-in loggers."""

from __future__ import annotations

from sensorium.registration.hookspecs import hookimpl


@hookimpl
def sensorium_register_loggers(register):
    """Register the loggers."""
    home = "sensorium.loggers"
    register("tensorboard", f"{home}.tensorboard:TensorBoard", summary="TensorBoard events in the run folder")
    register("csv", f"{home}.csv_file:CSVFile", summary="a table in the run folder, a row for each line of the log")
    register(
        "wandb",
        f"{home}.wandb_run:WandB",
        summary="a run of Weights & Biases",
        requires=["wandb"],
        extra="wandb",
    )
    register(
        "mlflow",
        f"{home}.mlflow_run:MLflow",
        summary="a run of MLflow, on a server or in a local database",
        requires=["mlflow"],
        extra="mlflow",
    )
