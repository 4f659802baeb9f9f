"""Registers rows of tables: the modality 'tabular', its encoders and views, tables of scikit-learn, and a recipe."""

from sensorium import hookimpl

_HOME = "sensorium_tabular"

sensorium_api = 1
sensorium_samples = {
    "tabular": [
        {"height": 1.62, "weight": 58, "city": "Lagos", "smoker": False},
        {"height": 1.80, "weight": None, "city": "Lima", "smoker": True},
        {"height": 1.75, "weight": 81, "city": "", "smoker": False},
        {"height": float("nan"), "weight": 70.5, "city": "Oslo", "smoker": None},
        {"height": 1.91, "weight": 92, "city": "Lima", "smoker": True},
        {"height": 1.55, "weight": 49, "city": "Lagos", "smoker": False},
        {"height": 1.70, "weight": 66, "city": "Oslo", "smoker": True},
        {"height": 1.68, "weight": 61, "city": "Lima"},
    ]
}

sensorium_matrix = {
    "columns/tabular": {
        "description": "178 wines (UCI, with scikit-learn), half of their 13 numbers left out, three growers",
        "data": {"source": {"name": "sklearn-table", "missing": 0.5}, "batch": 64, "test": 0.5, "cache": "ram"},
        "modalities": {
            "tabular": {
                "views": [
                    "scarf",
                    {"name": "scarf", "original": False, "rate": 0.4, "views": 6},
                    "plain",
                    "cell-mask",
                    "corrupted",
                ],
                "encoders": ["mlp", {"name": "columns", "dim": 32}, {"name": "columns", "dim": 32, "causal": True}],
            }
        },
        "evaluator": {"name": "knn", "label": "class"},
        "metric": "accuracy",
        "optimizer": {"lr": 1e-3},
        "steps": 200,
    },
    "columns/tabular-text": {
        "description": "1,309 passengers of the Titanic with their names (OpenML 40945, with scikit-learn)",
        "data": {"source": {"name": "sklearn-table", "dataset": "titanic"}, "batch": 128, "test": 0.2, "cache": "ram"},
        "modalities": {
            "tabular": {"views": ["plain"], "encoders": ["mlp"]},
            "text": {
                "modality": {"name": "text", "vocab": 1000, "length": 32},
                "views": ["plain"],
                "encoders": [{"name": "transformer", "width": 64, "depth": 2}],
            },
        },
        "evaluator": {"name": "retrieval", "positives": "record"},
        "metric": "tabular->text R@10",
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1},
        "steps": 200,
    },
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register("tabular", f"{_HOME}.modality:Tabular", summary="rows of a table: numbers, categories, missing cells")


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    register("mlp", f"{_HOME}.encoders:MLP", modality="tabular", summary="residual perceptron")
    register(
        "columns",
        f"{_HOME}.encoders:ColumnTransformer",
        modality="tabular",
        summary="FT-Transformer: a token for each column",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    views = {
        "plain": ("Plain", "the row itself"),
        "scarf": ("Scarf", "random cells drawn anew from their columns, as in SCARF"),
        "corrupted": ("Corrupted", "cells drawn anew, which are the target, as in VIME"),
        "cell-mask": ("CellMask", "hidden cells, whose categories and quantile bins are the target"),
    }
    for name, (target, summary) in views.items():
        register(name, f"{_HOME}.views:{target}", modality="tabular", summary=summary)


@hookimpl
def sensorium_register_sources(register):
    """Register the source of tables that are bundled with scikit-learn."""
    register("sklearn-table", f"{_HOME}.source:SklearnTable", summary="wine, iris, titanic and others of scikit-learn")


@hookimpl
def sensorium_register_recipes(register):
    """Register the recipes."""
    register("scarf", f"{_HOME}.recipes:scarf.yaml", summary="SCARF on the passengers of the Titanic")
    register("tabular-text", f"{_HOME}.recipes:tabular-text.yaml", summary="CLIP on passengers and their names")
