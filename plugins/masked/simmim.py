"""SimMIM."""

from __future__ import annotations

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, losses, masking
from sensorium.errors import check_range


class SimMIM(Objective):
    """SimMIM: a simple framework for masked image modeling (Xie et al. 2022), on tokens of any kind.

    The encoder sees all tokens, masked ones replaced with a learned mask token; a linear head reconstructs the masked
    ones. The loss is over masked tokens: L1 for float targets (eq. 1), cross-entropy for class ids.

    Args:
        mask_ratio: fraction of each record's tokens that is masked, in (0, 1); the mask of a view comes first.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    record_keys = ()

    def __init__(self, mask_ratio: float = 0.6) -> None:
        super().__init__()
        check_range("objective 'simmim'", "(0, 1)", mask_ratio=mask_ratio)
        self.mask_ratio = mask_ratio

    def build(self, encoders):
        """Make the mask token and the head."""
        dim, out = encoders.single.token_dim, encoders.single.target_dim
        self.mask_token = masking.mask_token(encoders.single, torch.randn(dim) * 0.02)
        self.head = nn.Linear(dim, out)

    def forward(self, views, encode):
        """Encode all tokens, reconstruct the masked ones."""
        (view,) = views
        tokens = encode.tokenize(view)
        masked_BT = masking.random_mask(view, tokens, self.mask_ratio)
        features = encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token))
        loss = losses.reconstruction(self.head(features.tokens), encode.token_targets(view), masked_BT, "l1")
        return Outcome(loss, features={"features": features.pooled.detach()})
