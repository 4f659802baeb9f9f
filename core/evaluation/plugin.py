"""The built-in evaluators and evaluation protocols."""

from __future__ import annotations

from sensorium.registration.hookspecs import hookimpl

sensorium_options = {
    "evaluators/forest": {"trees": 20},
    "evaluators/attentive": {"lrs": [0.01], "weight_decays": [0.1], "epochs": 1},
    "evaluators/layers": {"Cs": [0.1], "alphas": [10.0]},
}
"""What the records of the conformance kit can use."""


@hookimpl
def sensorium_register_evaluators(register):
    """Register the evaluators of frozen features."""
    home = "sensorium.evaluation"
    register("retrieval", f"{home}.retrieval:Retrieval", summary="cross-modal retrieval: R@k, MRR, nDCG, MAP@R")
    register("zero-shot", f"{home}.zero_shot:ZeroShot", summary="zero-shot classification by text prompts (CLIP)")
    register("pairs", f"{home}.pairs:Pairs", summary="Spearman correlation of pair similarity and label (STS)")
    register("modality-gap", f"{home}.modality_gap:ModalityGap", summary="modality gap and separability of modalities")
    register("knn", f"{home}.knn:KNN", summary="k-nearest-neighbor classification")
    register("linear", f"{home}.linear:Linear", summary="linear probe: logistic regression")
    register("layers", f"{home}.layers:Layers", summary="linear probe of each layer, the best one chosen on val")
    register("attentive", f"{home}.attentive:Attentive", summary="attention-pooling probe of tokens (AIM)")
    register("svm", f"{home}.svm:SVM", summary="support vector machine with an RBF kernel")
    register("multitask", f"{home}.multitask:Multitask", summary="mean ROC-AUC over binary tasks with missing labels")
    register("ridge", f"{home}.ridge:Ridge", summary="ridge regression of a numeric label")
    register("forest", f"{home}.forest:Forest", summary="random forest of a class, a numeric label or binary tasks")
    register("pls", f"{home}.pls:PLS", summary="partial least squares regression of a numeric label")
    register("forecast", f"{home}.forecast:Forecast", summary="time-series forecasting by ridge regression")
    register("anomaly", f"{home}.anomaly:Anomaly", summary="anomaly detection by distance to normal records")
    register("perplexity", f"{home}.perplexity:Perplexity", summary="perplexity of held-out tokens, bits per character")
    register(
        "cross-prediction",
        f"{home}.cross_prediction:CrossPrediction",
        summary="prediction of one modality's tokens from other modalities (MultiMAE)",
    )
    register("health", f"{home}.health:Health", summary="RankMe, std, uniformity and alignment of features")


@hookimpl
def sensorium_register_protocols(register):
    """Register the evaluation protocols."""
    home = "sensorium.evaluation.protocols"
    register("given", f"{home}:Given", summary="the split of the run")
    register("kfold", f"{home}:KFold", summary="stratified k-fold cross-validation over all records")
    register("leave-one-group-out", f"{home}:LeaveOneGroupOut", summary="each value of a label is the test part once")
