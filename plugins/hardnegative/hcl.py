"""Hard contrastive learning."""

from __future__ import annotations

from sensorium import NegativeOptions
from sensorium.plugins.contrastive.simclr import SimCLR


class HCL(SimCLR):
    """SimCLR whose hard negatives weigh more, and whose false ones are discounted (Robinson et al. 2021, eq. 4).

    It is `simclr` with `negatives: {beta: 1, prior: 0.1}`. With beta 0 it is debiased contrastive learning (Chuang et
    al. 2020, eq. 8).

    Args:
        beta: how much harder negatives weigh more; 0 weighs all alike.
        prior: the share of negatives that are of the anchor's own class, in [0, 1); about one over the classes.
    """

    def __init__(
        self,
        temperature: float = 0.5,
        beta: float = 1.0,
        prior: float = 0.1,
        width: int = 2048,
        dim: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__(temperature, width, dim, layers, NegativeOptions(beta=beta, prior=prior))
