"""iBOT."""

from __future__ import annotations

from typing import Any

import torch

from sensorium import Needs, losses, masking
from sensorium.errors import RecipeError, check_range
from sensorium.plugins.distillation.self_distillation import SelfDistillation


class IBOT(SelfDistillation):
    """iBOT: image BERT pre-training with an online tokenizer (Zhou et al. 2022, eq. 2 and 3).

    DINO, and masked token prediction: tokens of the student's global views are masked, and it predicts the teacher's
    assignments of these tokens, too. Views and tokens share one head. A global view's own mask
    (`View.info["masked"]`) is used where it has one.

    Args:
        mask_ratio: fraction of a record's tokens that random masks mask, drawn between the two.
        mask_probability: probability that a global view of a record is masked at all, 0 to 1.
        masks: number of masked copies of each global view, each with a mask of its own, that share one pass of the
            teacher, >= 1 (multi-mask training of data2vec 2.0, Baevski et al. 2023). Losses are means over copies.
    """

    needs = Needs(views=2, multicrop=True, tokens=True, info="masked")
    shares_head = True
    """Whether pooled features and tokens have one head, which has no batch norm: a batch may have no masked token."""

    def __init__(
        self,
        mask_ratio: tuple[float, float] = (0.1, 0.5),
        mask_probability: float = 0.5,
        masks: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_range("objective 'ibot'", "[1, inf)", masks=masks)
        self.mask_ratio, self.mask_probability, self.masks = mask_ratio, mask_probability, masks

    def build(self, encoders):
        """Make the head, the teacher and the mask token."""
        if self.shares_head and (dim := encoders.single.dim) != (token_dim := encoders.single.token_dim):
            raise RecipeError(
                f"The one head of 'ibot' takes pooled features and tokens, which are {dim} and {token_dim} wide here: "
                "choose another encoder, or the objective 'dinov2', which has two heads."
            )
        super().build(encoders)
        self.token_targets = self.teacher_targets()
        self.mask_token = masking.mask_token(encoders.single, 0.02 * torch.randn(encoders.single.token_dim))

    def forward(self, views, encode):
        """Predict the teacher's assignments of views from other views, and of masked tokens from visible ones."""
        global_views, local_views = views[: self.global_views], views[self.global_views :]
        features, masks = [], []
        for view in global_views:
            tokens = encode.tokenize(view).repeat(self.masks)
            masked_BT = masking.random_ratio_mask(view, tokens, self.mask_ratio, self.mask_probability)
            features.append(encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token)))
            masks.append(masked_BT)
        with torch.no_grad():  # view by view, so that tokens are as many as in its mask
            teacher_features = [encode.using(self.teacher.encoders)([view])[0] for view in global_views]
        view_loss, logs, logits_BK = self.view_loss([*features, *encode(local_views)], teacher_features)
        token_loss = self.token_loss(features, teacher_features, masks)
        further_loss, further_logs = self.further_loss(global_views, features, encode)
        logs |= {"view_loss": view_loss.detach(), "token_loss": token_loss.detach()} | further_logs
        loss, first_copy = view_loss + token_loss + further_loss, slice(len(global_views[0]))
        return self.outcome(loss, logs, features[0].pooled[first_copy], logits_BK[first_copy])

    def token_loss(self, features, teacher_features, masks):
        """Return the loss of masked tokens of the global views against the teacher's, a mean over those views.

        The student has its copies of each record one after the other, the teacher each record once.
        """
        head, teacher_head = self.token_heads()
        counts = torch.stack([masked_BT.sum() for masked_BT in masks]).tolist()
        indices = [masking.flat_indices(masked_BT, count) for masked_BT, count in zip(masks, counts, strict=True)]
        logits_NK = head(_tokens_at(indices, features), self.trains_prototypes())
        with torch.no_grad():
            tokens_ND = _tokens_at(indices, teacher_features)
            targets_NK = self.token_targets(teacher_head(tokens_ND), self.current_teacher_temperature())
        by_view = zip(logits_NK.split(counts), targets_NK.split(counts), masks, strict=True)
        return torch.stack([losses.masked_cross_entropy(*each, self.temperature) for each in by_view]).mean()

    def further_loss(self, global_views, features, encode):
        """Return what is added to the loss of views and tokens, and its logs: nothing."""
        return 0.0, {}

    def token_heads(self):
        """Return the student's and the teacher's head for tokens."""
        return self.head, self.teacher.heads["head"]


def _tokens_at(indices, features):
    """Return the tokens (N, D) of several views at their flat indices, which may be of copies, view by view."""
    tokens = [f.tokens.flatten(0, 1) for f in features]
    return torch.cat([x_MD[index_N % max(len(x_MD), 1)] for x_MD, index_N in zip(tokens, indices, strict=True)])
