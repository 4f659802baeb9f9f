"""CLIP with hard negatives."""

from __future__ import annotations

from sensorium import NegativeOptions
from sensorium.plugins.crossmodal.clip import CLIP


class HNCLIP(CLIP):
    """CLIP's loss with hard negatives weighted up, HN-NCE (Radenovic et al. 2023, eq. 5 and 6).

    It is `clip` with `negatives: {beta: 0.25}`.

    Args:
        alpha: weight of the own pair in the denominator; 0 takes it out, and 1 with beta 0 is CLIP.
        beta: how much harder negatives weigh more; 0 weighs all alike.
    """

    def __init__(
        self,
        dim: int = 256,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 0.07,
        max_scale: float = 100.0,
    ) -> None:
        super().__init__(dim, temperature, max_scale, negatives=NegativeOptions(beta=beta, alpha=alpha))
