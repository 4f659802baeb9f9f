"""How views become a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sensorium.contracts.encoder import Encode, Encoder, Encoders, TokenEncoder
from sensorium.errors import RecipeError
from sensorium.types import Needs, Outcome, TrainingSize, View


class Objective(nn.Module, ABC):
    """Owns heads, teachers and queues, and turns views into a loss.

    It is written once against views, features, tokens and targets, and names no modality.
    """

    needs: ClassVar[Needs] = Needs()
    """What it asks of the rest of a recipe, such as `Needs(views=2)`; checked before any data is read."""
    auto: ClassVar[Mapping[str, Callable[[TrainingSize], Any]]] = {}
    """Option name -> its value for a size of training, when a recipe leaves it out or says `auto`."""
    modality_pairs: Sequence[tuple[str, str]] = ()
    """Pairs of modalities that it contrasts, once built; a pair that no record has both of is told."""
    remedy: ClassVar[str | None] = None
    """What to change first when features collapse, as the collapse alarm says it: "raise objective.momentum"."""

    fits: int = 0
    """Number of records of the train part that `fit` is shown before the first step; 0: it learns nothing from them."""

    record_keys: Collection[str] | None = None
    """Names of the keys of records that it reads with `View.key`: "group", "label:NAME"; "record" is always there.

    A property where options decide. None has every label of every record hashed: say `()` if it reads none.
    """

    is_built: bool = False
    """Whether it has been built for a learner, which has it for its own."""

    @classmethod
    def variant(cls, options: Mapping[str, Any]) -> type[Objective]:
        """Return the class that serves these options: itself, or one with the same options and other needs.

        Args:
            options: of a recipe, checked; those that are left out have their defaults.
        """
        return cls

    @abstractmethod
    def build(self, encoders: Encoders) -> None:
        """Make heads (and teachers) from the encoders; `encoders.single.dim` is the width of features."""

    @abstractmethod
    def forward(self, views: Any, encode: Encode) -> Outcome:
        """Return the loss of one batch.

        Args:
            views: a list of views, or modality name -> list of views when `needs.modalities` is "many"; a modality
                that no record of the batch has comes with views of no rows, as on a rank whose records lack it.
            encode: runs the encoders: `encode(views)` gives the features of each.
        """

    def fit(self, batches: Iterable[Any], encode: Encode) -> None:
        """Learn from the train part, such as statistics of targets, or clusters; by default, nothing.

        Called once, before the first step of a run, on every rank with the same batches, in evaluation mode and without
        gradients. What it learns it writes into buffers that `build` has registered: all ranks receive those of the
        first, and checkpoints keep them.

        Args:
            batches: the views of at least one batch and, where there are as many, `fits` records, each as `forward`
                takes them; they can be iterated over once.
            encode: as in `forward`.
        """

    def score(self, views: Any, encode: Encode) -> dict[str, Tensor] | None:
        """Return the likelihood of each of B held-out records, or None for objectives that define none.

        "nats" (B,): the negative log-likelihood of the record; "tokens" (B,): its number of tokens; "uniform"
        (B,): its negative log-likelihood under a uniform distribution.
        """
        return None

    def predict_tokens(
        self, views: Mapping[str, Sequence[View]], encode: Encode, sources: Collection[str], target: str
    ) -> Tensor | None:
        """Predict the tokens of one modality from other modalities, or None for objectives that cannot.

        Args:
            views: modality name -> its views of the same records, of which the first is used; those of the target tell
                how many tokens there are and where, and nothing of what they are.
            encode: as in `forward`.
            sources: the modalities that are shown, in full; a record may lack some of them.
            target: the modality that is predicted.

        Returns:
            Float (N, T, P) for the N rows of the target's view: what `token_targets` of its encoder are, or logits of P
            classes where these are class ids.
        """
        return None

    def logit_parameters(self) -> dict[str, Tensor]:
        """Return the learned parameters that turn cosines of pairs into logits, as exporters write them.

        "log_scale", scalar: log of the factor of cosines; "bias", scalar: what is added. Empty where there are none.
        """
        return {}

    def embed(self, modality: str, pooled: Tensor) -> Tensor:
        """Map pooled features (B, D) of one modality to the space in which the objective compares; default, as is."""
        return pooled

    def has_own_space(self, modality: str) -> bool:
        """Return whether it compares a modality in another space than that of pooled features: it defines `embed`."""
        return type(self).embed is not Objective.embed

    @torch.no_grad()
    def joint_map(self, modality: str, encoder: Encoder) -> Tensor | None:
        """Return `embed` of one modality as a matrix (E, D), E = `encoder.dim`; None where it is not linear.

        Args:
            modality: the modality.
            encoder: its encoder, whose device and dtype the matrix has.
        """
        weight = next(encoder.parameters())
        eye = torch.eye(encoder.dim, device=weight.device, dtype=weight.dtype)
        map_ED = self.embed(modality, eye)
        probe = torch.linspace(-1, 2, 3 * encoder.dim, device=weight.device, dtype=weight.dtype).reshape(3, -1)
        embedded = self.embed(modality, probe)
        is_linear = torch.allclose(embedded, probe @ map_ED, rtol=1e-3, atol=1e-3 * float(embedded.abs().max()))
        return map_ED if is_linear else None

    def after_step(self, progress: float) -> None:
        """Update teachers, queues and clamps after an optimizer step; `progress` runs from 0 to 1."""


def check_towers(name: str, needs: Needs, encoders: Mapping[str, Encoder], towers: Sequence[str]) -> None:
    """Check that encoders are those that an objective needs, as a recipe's are before any data is read.

    Args:
        name: of the objective, for errors.
        needs: its own.
        encoders: by the name of the modality whose own they are.
        towers: the modalities, those that share an encoder included.

    Raises:
        RecipeError: for another number of modalities, and an encoder without the tokens that it needs.
    """
    if not needs.is_crossmodal and len(encoders) != 1:
        owners = ", ".join(encoders) or "none"
        raise RecipeError(f"The objective {name} takes one encoder, but here are {len(encoders)} ({owners}).")
    if needs.is_crossmodal and not needs.takes(len(towers)):
        takes = {"many": "two or more", "any": "one or more"}.get(str(needs.modalities), needs.modalities)
        raise RecipeError(
            f"The objective {name} takes {takes} modalities, but here are {len(towers)} ({', '.join(towers)})."
        )
    for modality, encoder in encoders.items():
        if needs.tokens and not isinstance(encoder, TokenEncoder):
            raise RecipeError(
                f"{name} needs tokens, but the encoder of '{modality}' is no TokenEncoder: {type(encoder).__name__}."
            )


def check_given(
    name: str, needs: Needs, encoders: Iterable[str], descriptors: Mapping[str, int], teachers: Mapping[str, Encoder]
) -> None:
    """Check that records have descriptors, and encoders frozen teachers, where an objective needs them.

    Args:
        name: of the objective, for errors.
        needs: its own.
        encoders: the names of the modalities whose encoders it has.
        descriptors: modality name -> number of descriptors of a record.
        teachers: modality name -> its frozen teacher.

    Raises:
        RecipeError: when a modality has none.
    """
    for modality in encoders:
        if needs.descriptors and not descriptors.get(modality):
            raise RecipeError(
                f"The objective {name} needs descriptors of each record: say how many there are of '{modality}', "
                f"Learner(..., descriptors={{'{modality}': P}}), and give its views some, "
                "transform.views(x, descriptors=rows)."
            )
        if needs.teacher and modality not in teachers:
            raise RecipeError(
                f"The objective {name} predicts the features of a frozen teacher, and there is none of '{modality}': "
                f"hand it in, Learner(..., teachers={{'{modality}': encoder}})."
            )
