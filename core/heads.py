"""Heads: the small networks between features and losses."""

from sensorium.blocks.heads import PrototypeHead, Prototypes, bottleneck_head, prediction_head, projection_head

__all__ = ["PrototypeHead", "Prototypes", "bottleneck_head", "prediction_head", "projection_head"]
