"""Losses: pure functions on tensors, fp32 whatever the autocast, exact under distribution."""

from sensorium.losses.contrastive import clip, info_nce, nt_xent
from sensorium.losses.tokens import perplexity, token_cross_entropy

__all__ = ["clip", "info_nce", "nt_xent", "perplexity", "token_cross_entropy"]
