"""DINOv2."""

from __future__ import annotations

from sensorium import Teacher, losses
from sensorium.plugins.distillation.assignments import Balanced
from sensorium.plugins.distillation.ibot import IBOT


class DINOv2(IBOT):
    """iBOT with a head of tokens' own, balanced targets and features kept apart (Oquab et al. 2023, section 4).

    Large views that carry a mask in `info["masked"]` have those tokens hidden; of others, random ones.

    Args:
        prototypes: how many each of the two heads has.
        large: how many views, the first ones, the teacher sees; small crops come after them.
        temperature: what the student's scores are divided by.
        teacher_temperature: what the teacher's are divided by, at the start and after `warmup`.
        warmup: share of the training in which the teacher's temperature changes.
        momentum: of the teacher at the start; it rises to 1 along a half cosine.
        freeze: share of the training in which the prototypes stay as they are.
        width: hidden width of the heads.
        bottleneck: width of the spaces of the prototypes.
        hidden: least and greatest share of tokens that random masks hide.
        probability: with which a large view of a record is masked at random at all.
        koleo: weight of the KoLeo term, summed over large views, which spreads the student's features.
    """

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
        koleo: float = 0.1,
    ) -> None:
        super().__init__(
            prototypes,
            large,
            temperature,
            teacher_temperature,
            warmup,
            momentum,
            freeze,
            width,
            bottleneck,
            hidden,
            probability,
        )
        self.koleo, self.batch_norm = koleo, True  # the head of views, which never sees tokens

    shares_head = False

    def build(self, encoders):
        """Make two heads, the teacher of both, and the token that stands for hidden ones."""
        super().build(encoders)
        # A batch may hide a single token, or none, so there is no batch norm.
        self.token_head = self.new_head(encoders.single.token_dim, batch_norm=False)
        self.teacher = Teacher(encoders, head=self.head, token_head=self.token_head)

    def assignment(self):
        """Return what turns a teacher's scores into targets."""
        return Balanced()

    def token_heads(self):
        """Return the student's and the teacher's head for tokens."""
        return self.token_head, self.teacher.heads["token_head"]

    def match(self, features, taught):
        """Return the loss of the views with the KoLeo term, logs, and the first view's scores."""
        loss, logs, scores_BK = super().match(features, taught)
        spread = sum(losses.koleo(f.pooled) for f in features[: len(taught)])
        return loss + self.koleo * spread, logs | {"koleo": spread.detach()}, scores_BK
