"""The built-in evaluators."""

from __future__ import annotations

from sensorium.registration.hookspecs import hookimpl


@hookimpl
def sensorium_register_evaluators(register):
    """Register the evaluators of frozen features."""
    home = "sensorium.evaluation"
    register("retrieval", f"{home}.retrieval:Retrieval", summary="find one modality's records by another's")
    register("zero-shot", f"{home}.zero_shot:ZeroShot", summary="name classes by prompts, without training")
    register("pairs", f"{home}.pairs:Pairs", summary="rank pairs by similarity as a numeric label does")
    register("modality-gap", f"{home}.modality_gap:ModalityGap", summary="how far apart modalities lie in their space")
    register("knn", f"{home}.knn:KNN", summary="classify by the nearest training records")
    register("linear", f"{home}.linear:Linear", summary="classify by logistic regression")
    register("svm", f"{home}.svm:SVM", summary="classify by a support vector machine")
    register("multitask", f"{home}.multitask:Multitask", summary="ROC-AUC over many tasks with missing labels")
    register("ridge", f"{home}.ridge:Ridge", summary="predict a number by ridge regression")
    register("forest", f"{home}.forest:Forest", summary="predict a number by a random forest")
    register("forecast", f"{home}.forecast:Forecast", summary="predict the values to come by ridge regression")
    register("anomaly", f"{home}.anomaly:Anomaly", summary="flag records far from normal ones, by record and by event")
    register("perplexity", f"{home}.perplexity:Perplexity", summary="how surprising held-out tokens are, bits per unit")
    register("health", f"{home}.health:Health", summary="effective rank, std, alignment and uniformity")
