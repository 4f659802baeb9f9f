"""iBOT."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from sensorium import Needs, Outcome, losses, masking
from sensorium.errors import RecipeError
from sensorium.plugins.distillation.dino import DINO


class IBOT(DINO):
    """DINO, and the teacher's choice for every token that is hidden from the student (Zhou et al. 2022, eq. 2 and 3).

    Large views that carry a mask in `info["masked"]` have those tokens hidden; of others, random ones.

    Args:
        prototypes: how many; views and tokens share them and the head.
        large: how many views, the first ones, the teacher sees; small crops come after them.
        temperature: what the student's scores are divided by.
        teacher_temperature: what the teacher's are divided by, at the start and after `warmup`.
        warmup: share of the training in which the teacher's temperature changes.
        momentum: of the teacher at the start; it rises to 1 along a half cosine.
        freeze: share of the training in which the prototypes stay as they are.
        width: hidden width of the head.
        bottleneck: width of the space of the prototypes.
        hidden: least and greatest share of tokens that random masks hide.
        probability: with which a large view of a record is masked at random at all.
    """

    needs = Needs(views=2, multicrop=True, tokens=True, info="masked")
    shares_head = True

    def __init__(
        self,
        prototypes: int = 1024,
        large: int = 2,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warmup: float = 0.3,
        momentum: float = 0.99,
        freeze: float = 0.01,
        width: int = 2048,
        bottleneck: int = 256,
        hidden: tuple[float, float] = (0.1, 0.5),
        probability: float = 0.5,
    ) -> None:
        # A batch may hide a single token, or none, so there is no batch norm.
        sizes = {"width": width, "bottleneck": bottleneck, "batch_norm": False}
        super().__init__(prototypes, large, temperature, teacher_temperature, warmup, momentum, freeze, **sizes)
        self.hidden, self.probability = hidden, probability

    def build(self, encoders):
        """Make the head, the teacher and the token that stands for hidden ones."""
        if self.shares_head and (dim := encoders.single.dim) != (token_dim := encoders.single.token_dim):
            raise RecipeError(
                f"The one head of 'ibot' takes records and tokens, which are {dim} and {token_dim} wide here: choose "
                "another encoder, or the objective 'dinov2', which has two."
            )
        super().build(encoders)
        self.assign_tokens = self.assignment()
        self.mask_token = nn.Parameter(0.02 * torch.randn(encoders.single.token_dim))

    def forward(self, views, encode):
        """Predict the teacher's choices for views from other views, and for hidden tokens from what is seen."""
        large, small = views[: self.large], views[self.large :]
        features, masks = [], []
        for view in large:
            tokens = encode.tokenize(view)
            mask_BT = masking.random_ratio_mask(view, tokens, self.hidden, self.probability)
            x_BTD = torch.where(mask_BT[..., None], self.mask_token.to(tokens.x.dtype), tokens.x)
            features.append(encode.encode_tokens(view, replace(tokens, x=x_BTD)))
            masks.append(mask_BT)
        with torch.no_grad():
            taught = [encode.using(self.teacher.encoders)([view])[0] for view in large]  # each as long as its mask
        by_view, logs, scores_BK = self.match([*features, *encode(small)], taught)
        by_token = self.match_tokens(features, taught, masks)
        logs |= {"view_loss": by_view.detach(), "token_loss": by_token.detach()}
        shown = {"features": features[0].pooled.detach(), "projection": scores_BK.detach()}
        return Outcome(by_view + by_token, logs, shown, self.assignments(logs))

    def match_tokens(self, features, taught, masks):
        """Return the loss between hidden tokens of the large views and the teacher's, a mean over those views."""
        student, teacher = self.token_heads()
        seen_ND = torch.cat([f.tokens[mask_BT] for f, mask_BT in zip(features, masks, strict=True)])
        scores_NK = student(seen_ND, self.progress >= self.freeze)
        with torch.no_grad():
            taught_ND = torch.cat([f.tokens[mask_BT] for f, mask_BT in zip(taught, masks, strict=True)])
            targets_NK = self.assign_tokens(teacher(taught_ND), self.sharpness())
        counts = [int(mask_BT.sum()) for mask_BT in masks]
        rows = zip(scores_NK.split(counts), targets_NK.split(counts), masks, strict=True)
        return torch.stack([losses.masked_cross_entropy(*row, self.temperature) for row in rows]).mean()

    def token_heads(self):
        """Return the student's and the teacher's head for tokens."""
        return self.head, self.teacher.heads["head"]
