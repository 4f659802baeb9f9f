"""Losses: pure functions on tensors, fp32 whatever the autocast, exact under distribution."""

from sensorium.losses.contrastive import (
    clip,
    info_nce,
    many_positives,
    nt_xent,
    one_sided,
    supervised_contrastive,
)
from sensorium.losses.decoupled import decoupled
from sensorium.losses.distillation import (
    centered_softmax,
    entropy,
    koleo,
    masked_cross_entropy,
    moved_center,
    sinkhorn_knopp,
    swapped_cross_entropy,
)
from sensorium.losses.engine import NONE
from sensorium.losses.extra_negatives import NO_ID, Further, Mixed, Rows, mix
from sensorium.losses.future_prediction import future_contrast
from sensorium.losses.global_contrastive import global_contrast, log_mean_gaps, moved_log
from sensorium.losses.hardness import Guide, Hardness, debiased, hcl, hn_nce
from sensorium.losses.hierarchical import hierarchical_contrast
from sensorium.losses.infomax import binary_discrimination, jensen_shannon, summary
from sensorium.losses.masked import masked_regression, reconstruction, scaled_cosine
from sensorium.losses.quantized import code_perplexity, diversity, masked_contrast
from sensorium.losses.queue import nearest_rows, queue_contrast
from sensorium.losses.redundancy import barlow_twins, vicreg
from sensorium.losses.regression import negative_cosine
from sensorium.losses.sigmoid import siglip
from sensorium.losses.sigreg import random_directions, sigreg
from sensorium.losses.statistics import effective_rank, normalized_std
from sensorium.losses.tokens import class_weights, perplexity, token_cross_entropy, token_nats
from sensorium.losses.whitening import whitened, whitening_mse

__all__ = [
    "NONE",
    "NO_ID",
    "Further",
    "Guide",
    "Hardness",
    "Mixed",
    "Rows",
    "barlow_twins",
    "binary_discrimination",
    "centered_softmax",
    "class_weights",
    "clip",
    "code_perplexity",
    "debiased",
    "decoupled",
    "diversity",
    "effective_rank",
    "entropy",
    "future_contrast",
    "global_contrast",
    "hcl",
    "hierarchical_contrast",
    "hn_nce",
    "info_nce",
    "jensen_shannon",
    "koleo",
    "log_mean_gaps",
    "many_positives",
    "masked_contrast",
    "masked_cross_entropy",
    "masked_regression",
    "mix",
    "moved_center",
    "moved_log",
    "nearest_rows",
    "negative_cosine",
    "normalized_std",
    "nt_xent",
    "one_sided",
    "perplexity",
    "queue_contrast",
    "random_directions",
    "reconstruction",
    "scaled_cosine",
    "siglip",
    "sigreg",
    "sinkhorn_knopp",
    "summary",
    "supervised_contrastive",
    "swapped_cross_entropy",
    "token_cross_entropy",
    "token_nats",
    "vicreg",
    "whitened",
    "whitening_mse",
]
