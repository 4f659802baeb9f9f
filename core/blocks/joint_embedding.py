"""The joint embedding space of several modalities, and the pairs of a batch in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.contracts import Encode, Encoder
from sensorium.devices import to_device
from sensorium.presence import Presence, present_exactly, present_in_all, present_in_any, rows_among
from sensorium.record_keys import Keys, changed, key_of
from sensorium.types import View


class JointEmbedding(nn.ModuleDict):
    """Linear projections of each modality into one joint embedding space.

    A projection between equal widths starts as the identity, so that towers which are aligned already stay so.
    Modalities that share an encoder share its projection, as the two sides of a siamese network do.

    Args:
        encoders: modality name -> encoder.
        dim: width D of the joint space.
        anchor: a modality whose features are not projected; `dim` must be their width.
    """

    def __init__(self, encoders: Mapping[str, Encoder], dim: int, anchor: str | None = None) -> None:
        first: dict[Encoder, str] = {}
        for name, encoder in encoders.items():
            first.setdefault(encoder, name)
        self._sharing = {name: first[encoder] for name, encoder in encoders.items()}
        frozen = None if anchor is None else self._sharing[anchor]
        maps = {
            name: nn.Identity() if name == frozen else nn.Linear(encoders[name].dim, dim, bias=False)
            for name in dict.fromkeys(self._sharing.values())
        }
        for linear in maps.values():
            if isinstance(linear, nn.Linear) and linear.in_features == dim:
                nn.init.eye_(linear.weight)
        super().__init__(maps)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modalities."""
        return tuple(self._sharing)

    def __getitem__(self, modality: str) -> nn.Module:
        return super().__getitem__(self._sharing[modality])

    def embed(self, views: Mapping[str, list[View]], encode: Encode) -> JointBatch:
        """Return the embeddings of every modality in the joint space, each encoded once however many pairs it is in."""
        all_views = [view for name in self.names for view in views[name]]
        batch = JointBatch({}, {}, {})
        for view, features in zip(all_views, encode(all_views), strict=True):
            name, rows_ND = view.modality, self[view.modality](features.pooled)
            if view.is_negative:
                batch.negatives[name] = (
                    torch.cat([batch.negatives[name], rows_ND]) if name in batch.negatives else rows_ND
                )
            else:
                batch.views[name], batch.rows[name], batch.pooled[name] = view, rows_ND, features.pooled.detach()
        return batch


class Pair(NamedTuple):
    """The records that have both modalities of a pair.

    Args:
        x: float (N, D), embeddings of the first modality in the joint space.
        y: float (N, D), embeddings of the second.
        keys: record keys int64 (N,) by name (see `record_keys`).
        pooled: features (N, G) of both modalities, as their encoders return them, detached, by modality.
    """

    x: Tensor
    y: Tensor
    keys: Keys
    pooled: dict[str, Tensor]

    def key(self, name: str) -> Tensor:
        """Return what the records are recognized by, int64 (N,).

        Args:
            name: "record", "group" or "label:NAME" (see `record_keys`).

        Raises:
            RecipeError: when they have no such key.
        """
        return key_of(self.keys, name)


@dataclass
class JointBatch:
    """A batch in the joint embedding space. A modality that no record has is there with no rows.

    Args:
        views: modality name -> its view.
        rows: modality name -> its embeddings (B, D).
        pooled: modality name -> features (B, G), detached.
        negatives: modality name -> embeddings of its negative views.
    """

    views: dict[str, View]
    rows: dict[str, Tensor]
    pooled: dict[str, Tensor]
    negatives: dict[str, Tensor] = field(default_factory=dict)

    def paired_rows(self, name: str, modality_pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Keys]:
        """Return the embeddings of one modality whose records have another modality too, and the records' keys."""
        view = self.views[name]
        others = [y if x == name else x for x, y in modality_pairs if name in (x, y)]
        paired = present_in_any([self.views[other].present for other in others])
        pick = _Pick(rows_among(paired, view.present), self.rows[name].device)
        return pick(self.rows[name]), changed(view.keys, pick)

    def pair(self, x: str, y: str) -> Pair:
        """Return the records that have both modalities, possibly none."""
        present = {name: self.views[name].present for name in (x, y)}
        both = present_in_all(list(present.values()))
        pick = {name: _Pick(rows_among(both, present[name]), self.rows[name].device) for name in (x, y)}
        return Pair(
            pick[x](self.rows[x]),
            pick[y](self.rows[y]),
            changed(self.views[x].keys, pick[x]),
            {name: pick[name](self.pooled[name]) for name in (x, y)},
        )

    def count(self, names: Sequence[str]) -> int:
        """Return how many records have these modalities and no other, which the host knows."""
        if any(view.present is None for name, view in self.views.items() if name not in names):
            return 0
        chosen = self._exactly(names)
        return self._records if chosen is None else int(chosen.sum())

    def tuples(self, names: Sequence[str]) -> list[Tensor]:
        """Return the embeddings (N, D) of each of these modalities, of the N records that have them and no other."""
        chosen = self._exactly(names)
        picks = [_Pick(rows_among(chosen, self.views[name].present), self.rows[name].device) for name in names]
        return [pick(self.rows[name]) for pick, name in zip(picks, names, strict=True)]

    def _exactly(self, names: Sequence[str]) -> Presence:
        """Return which records have these modalities and no other."""
        present = {name: view.present for name, view in self.views.items()}
        lacking = [mask_B for name, mask_B in present.items() if name not in names]
        return present_exactly([present[name] for name in names], lacking, self._records)

    @property
    def _records(self) -> int:
        """B, the number of records."""
        view = next(iter(self.views.values()))
        return len(view) if view.present is None else len(view.present)

    def mean_cosines(self, modality_pairs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
        """Return the mean cosine of the records that have both of each pair, 0 without any, to log as "cosine/x-y"."""
        means = {}
        for x, y in modality_pairs:
            pair = self.pair(x, y)
            cosines_N = F.cosine_similarity(pair.x.detach().float(), pair.y.detach().float())
            means[f"cosine/{x}-{y}"] = cosines_N.sum() / max(len(pair.x), 1)
        return means


class _Pick:
    """Picks the rows of row numbers on the host, int64 (N,); of None all rows, without a copy."""

    def __init__(self, rows_N: np.ndarray | None, device: torch.device) -> None:
        self._index_N = None if rows_N is None else to_device([rows_N], device)[0]

    def __call__(self, x_MD: Tensor) -> Tensor:
        return x_MD if self._index_N is None else x_MD.index_select(0, self._index_N)
