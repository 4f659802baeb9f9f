"""Masked modeling objectives: some tokens of a record are masked, and predicted from the visible ones."""

from sensorium import hookimpl

_K_MEANS = {"name": "masked-clusters", "targets": "k-means"}
sensorium_matrix = {
    "objectives/mae": {"width": 96, "depth": 1},
    "objectives/multimae": {"width": 96, "depth": 1, "decoder_width": 96, "decoder_depth": 1},
    "objectives/hubert": {**_K_MEANS, "k_means": {"dim": 64}},
    "objectives/hubert-start": {**_K_MEANS, "k_means": {"of": "start", "dim": 64}},
    "objectives/capi": {
        "name": "masked-clusters",
        "targets": "online",
        "mask": "inverse-block",
        "mask_ratio": 0.65,
        "predictor": {"width": 96},
    },
}
"""Narrow decoders: what a few hundred steps on a thousand records can use."""

sensorium_options = {
    "objectives/mae": {"width": 32, "depth": 1},
    "objectives/multimae": {"width": 32, "depth": 1, "decoder_width": 32, "decoder_depth": 1},
    "objectives/masked-clusters": [
        {"clusters": 8},
        {"targets": "k-means", "clusters": 8, "mask": "spans", "mask_length": 2, "k_means": {"dim": 16}},
        {
            "targets": "online",
            "clusters": 8,
            "mask": "inverse-block",
            "predictor": {"depth": 1, "width": 32},
            "online": {"bins": 1},
        },
    ],
}
"""The same for the records of the conformance kit."""


@hookimpl
def sensorium_register_objectives(register):
    """Register the masked modeling objectives."""
    home = "sensorium.plugins.masked"
    register("data2vec", f"{home}.data2vec:Data2Vec", summary="predict an EMA teacher's features of masked tokens")
    register(
        "graphmae",
        f"{home}.graphmae:GraphMAE",
        summary="masked autoencoder with a re-masked code and a scaled cosine error",
    )
    register("mae", f"{home}.mae:MAE", summary="masked autoencoder: encode visible tokens, reconstruct masked ones")
    register(
        "multimae",
        f"{home}.multimae:MultiMAE",
        summary="one trunk over the visible tokens of all modalities, from which each is predicted",
    )
    register(
        "masked-clusters",
        f"{home}.masked_clusters:MaskedClusters",
        summary="predict clusters of masked tokens: random projection (BEST-RQ), k-means (HuBERT), online (CAPI)",
    )
    register("simmim", f"{home}.simmim:SimMIM", summary="encode mask tokens too, reconstruct masked tokens linearly")
    register(
        "wav2vec2",
        f"{home}.wav2vec2:Wav2Vec2",
        summary="wav2vec 2.0: contrast masked tokens' quantized targets with distractors",
    )
