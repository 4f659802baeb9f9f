"""Losses: pure functions on tensors, fp32 whatever the autocast, exact under distribution."""

from sensorium.losses.contrastive import (
    clip,
    info_nce,
    nt_xent,
    supervised_contrastive,
    unicl,
)
from sensorium.losses.decoupled import decoupled_contrastive
from sensorium.losses.distillation import (
    centered_softmax,
    entropy,
    koleo,
    masked_cross_entropy,
    positionwise_sinkhorn,
    sinkhorn_knopp,
    swapped_cross_entropy,
    update_center,
)
from sensorium.losses.engine import LOG_ZERO
from sensorium.losses.extra_negatives import NO_ID, ExtraNegatives, MixedNegatives, NegativeRows, mix_negatives
from sensorium.losses.future_prediction import future_info_nce
from sensorium.losses.global_contrastive import global_contrastive, log_ema, log_normalizers
from sensorium.losses.gram import gram_anchoring
from sensorium.losses.hardness import Guide, NegativeWeighting, debiased, hcl, hn_nce
from sensorium.losses.hierarchical import hierarchical_contrastive
from sensorium.losses.infomax import binary_discrimination, dgi_summary, jensen_shannon
from sensorium.losses.masked import masked_regression, multimodal_reconstruction, reconstruction, scaled_cosine_error
from sensorium.losses.next_embedding import next_embedding
from sensorium.losses.quantized import assignment_perplexity, code_perplexity, diversity, masked_contrastive
from sensorium.losses.queue import nearest_in_queue, queue_info_nce
from sensorium.losses.redundancy import barlow_twins, vicreg
from sensorium.losses.regression import element_regression, explained_variance, negative_cosine
from sensorium.losses.sigmoid import siglip
from sensorium.losses.sigreg import random_directions, sigreg, sigreg_by_step
from sensorium.losses.statistics import effective_rank, linear_cka, normalized_std
from sensorium.losses.tokens import class_weights, perplexity, soft_token_cross_entropy, token_cross_entropy, token_nats
from sensorium.losses.tuples import gram_volume, symile, triangle_area, volume_contrast
from sensorium.losses.visreg import VISRegTerms, global_view_prediction, visreg
from sensorium.losses.whitening import whitened, whitening_mse

__all__ = [
    "LOG_ZERO",
    "NO_ID",
    "ExtraNegatives",
    "Guide",
    "MixedNegatives",
    "NegativeRows",
    "NegativeWeighting",
    "VISRegTerms",
    "assignment_perplexity",
    "barlow_twins",
    "binary_discrimination",
    "centered_softmax",
    "class_weights",
    "clip",
    "code_perplexity",
    "debiased",
    "decoupled_contrastive",
    "dgi_summary",
    "diversity",
    "effective_rank",
    "element_regression",
    "entropy",
    "explained_variance",
    "future_info_nce",
    "global_contrastive",
    "global_view_prediction",
    "gram_anchoring",
    "gram_volume",
    "hcl",
    "hierarchical_contrastive",
    "hn_nce",
    "info_nce",
    "jensen_shannon",
    "koleo",
    "linear_cka",
    "log_ema",
    "log_normalizers",
    "masked_contrastive",
    "masked_cross_entropy",
    "masked_regression",
    "mix_negatives",
    "multimodal_reconstruction",
    "nearest_in_queue",
    "negative_cosine",
    "next_embedding",
    "normalized_std",
    "nt_xent",
    "perplexity",
    "positionwise_sinkhorn",
    "queue_info_nce",
    "random_directions",
    "reconstruction",
    "scaled_cosine_error",
    "siglip",
    "sigreg",
    "sigreg_by_step",
    "sinkhorn_knopp",
    "soft_token_cross_entropy",
    "supervised_contrastive",
    "swapped_cross_entropy",
    "symile",
    "token_cross_entropy",
    "token_nats",
    "triangle_area",
    "unicl",
    "update_center",
    "vicreg",
    "visreg",
    "volume_contrast",
    "whitened",
    "whitening_mse",
]
