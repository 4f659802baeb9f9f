"""Losses: pure functions on tensors, fp32 whatever the autocast, exact under distribution."""

from sensorium.losses.contrastive import clip, nt_xent

__all__ = ["clip", "nt_xent"]
