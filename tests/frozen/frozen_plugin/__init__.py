"""Registers a part of every kind that plugin contract 1.0 had."""

from sensorium import hookimpl

sensorium_api = 1
sensorium_samples = {"frozen": [[0.1 * i, 1.0, -2.0, 0.5] for i in range(8)]}


@hookimpl
def sensorium_register_modalities(register):
    register("frozen", "frozen_plugin.data:Vector", summary="vectors of one length")


@hookimpl
def sensorium_register_encoders(register):
    register("mlp", "frozen_plugin.data:MLP", modality="frozen", summary="two-layer perceptron")


@hookimpl
def sensorium_register_views(register):
    register("noise", "frozen_plugin.data:Noise", modality="frozen", summary="additive Gaussian noise")


@hookimpl
def sensorium_register_sources(register):
    register("frozen-vectors", "frozen_plugin.data:Vectors", summary="vectors around two centers")


@hookimpl
def sensorium_register_objectives(register):
    register("frozen-contrast", "frozen_plugin.learning:Contrast", summary="two views against all others")


@hookimpl
def sensorium_register_evaluators(register):
    register("frozen-centroid", "frozen_plugin.learning:Centroid", summary="classify by the nearest class mean")


@hookimpl
def sensorium_register_exporters(register):
    register("frozen-weights", "frozen_plugin.leaving:Weights", summary="the weights as one file of torch")


@hookimpl
def sensorium_register_recipes(register):
    register("frozen-recipe", "frozen_plugin:frozen.yaml", summary="contrast on vectors")


@hookimpl
def sensorium_register_commands(register):
    register("frozen-count", "frozen_plugin.leaving:count", summary="Count the numbers of a vector.")
