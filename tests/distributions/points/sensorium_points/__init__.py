"""Registers point clouds: the modality 'points', its encoders and views, two sources, and a recipe."""

from sensorium import hookimpl

_HOME = "sensorium_points"

sensorium_api = 1
sensorium_samples = {
    "points": [
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [2, 1, 0]],
        [[0, 0, 1], [1, 2, 1], [2, 0, 1]],
        [[5.0, 5.5, 5], [6, 5, 4], [5, 6, 6], [4, 4, 4], [5, 5, 7], [5, 4, 3], [6, 6, 6]],
        [[-1, 0, 0], [1, 0.5, 0], [0, -1, 0.3], [0.2, 1, 0]],
    ]
}

_DIGITS = {"name": "points", "space": 2, "values": 1}

sensorium_matrix = {
    "columns/points": {
        "description": "1,797 handwritten digits (UCI, CC BY 4.0, with scikit-learn) as sets of some thirty points",
        "data": {"source": "digit-clouds", "batch": 128, "test": 0.3, "cache": "ram"},
        "modalities": {
            "points": {
                "modality": _DIGITS,
                "views": ["augment", {"name": "augment", "views": 6}, "plain", "rotation"],
                "encoders": ["pointnet", "groups"],
            }
        },
        "evaluator": {"name": "knn", "label": "class"},
        "metric": "accuracy",
        "optimizer": {"lr": 1e-3},
        "steps": 200,
    },
    "columns/points-text": {
        "description": "handwritten digits (UCI, CC BY 4.0, with scikit-learn) as points, with their names in words",
        "data": {"source": "digit-clouds", "batch": 128, "test": 0.2, "cache": "ram"},
        "modalities": {
            "points": {"modality": _DIGITS, "views": ["plain"], "encoders": ["pointnet"]},
            "text": {
                "modality": {"name": "text", "tokenizer": "characters", "length": 16},
                "views": ["plain"],
                "encoders": [{"name": "transformer", "width": 64, "depth": 2}],
            },
        },
        "evaluator": {"name": "retrieval", "positives": "label:class"},
        "metric": "points->text R@1",
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1},
        "steps": 200,
    },
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register("points", f"{_HOME}.modality:Points", summary="clouds of points in two or three dimensions, of any size")


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    register(
        "pointnet", f"{_HOME}.encoders:PointNet", modality="points", summary="perceptron on points, maximum over them"
    )
    register(
        "groups",
        f"{_HOME}.encoders:GroupTransformer",
        modality="points",
        summary="transformer on groups of neighboring points, as Point-MAE",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    views = {
        "plain": ("Plain", "the cloud itself"),
        "augment": ("Augment", "rotated, scaled, jittered and thinned clouds"),
        "rotation": ("Rotation", "clouds turned by multiples of 90 degrees, which are the target"),
    }
    for name, (target, summary) in views.items():
        register(name, f"{_HOME}.views:{target}", modality="points", summary=summary)


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    register("digit-clouds", f"{_HOME}.source:DigitClouds", summary="handwritten digits of scikit-learn as points")
    register("solids", f"{_HOME}.source:Solids", summary="computed solids: sphere, cube, cylinder, cone, torus")


@hookimpl
def sensorium_register_recipes(register):
    """Register the recipes."""
    register("points", f"{_HOME}.recipes:points.yaml", summary="SimCLR on handwritten digits as points")
    register("points-text", f"{_HOME}.recipes:points-text.yaml", summary="CLIP on points and names")
