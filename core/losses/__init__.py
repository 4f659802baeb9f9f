"""Losses: pure functions on tensors, fp32 whatever the autocast, exact under distribution."""

from sensorium.losses.contrastive import clip, info_nce, nt_xent, one_sided, supervised_contrastive
from sensorium.losses.decoupled import decoupled
from sensorium.losses.distillation import (
    centred_softmax,
    entropy,
    koleo,
    masked_cross_entropy,
    moved_centre,
    sinkhorn_knopp,
    swapped_cross_entropy,
)
from sensorium.losses.hardness import Guide, debiased, hcl, hn_nce
from sensorium.losses.hierarchical import hierarchical_contrast
from sensorium.losses.infomax import jensen_shannon, summary, told_apart
from sensorium.losses.masked import masked_regression, reconstruction, scaled_cosine
from sensorium.losses.queue import nearest_rows, queue_contrast
from sensorium.losses.redundancy import barlow_twins, vicreg
from sensorium.losses.regression import negative_cosine
from sensorium.losses.sigmoid import siglip
from sensorium.losses.sigreg import random_directions, sigreg
from sensorium.losses.tokens import perplexity, token_cross_entropy, token_nats

__all__ = [
    "Guide",
    "barlow_twins",
    "centred_softmax",
    "clip",
    "debiased",
    "decoupled",
    "entropy",
    "hcl",
    "hierarchical_contrast",
    "hn_nce",
    "info_nce",
    "jensen_shannon",
    "koleo",
    "masked_cross_entropy",
    "masked_regression",
    "moved_centre",
    "nearest_rows",
    "negative_cosine",
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
    "told_apart",
    "vicreg",
]
