"""The joint embedding space of several modalities, and the pairs of a batch in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.contracts import Encode, Encoder
from sensorium.errors import SensoriumError
from sensorium.types import View


class JointEmbedding(nn.ModuleDict):
    """A linear map for each modality into the one space where records of several modalities are compared.

    A map between spaces of one width starts as the identity, so that towers which already agree still do.

    Args:
        encoders: modality name -> encoder.
        dim: width D of the space.
        anchor: a modality whose features are the space as they are; `dim` must be their width.
    """

    def __init__(self, encoders: Mapping[str, Encoder], dim: int, anchor: str | None = None) -> None:
        maps = {n: nn.Identity() if n == anchor else nn.Linear(e.dim, dim, bias=False) for n, e in encoders.items()}
        for linear in maps.values():
            if isinstance(linear, nn.Linear) and linear.in_features == dim:
                nn.init.eye_(linear.weight)
        super().__init__(maps)
        self._widths = {name: encoder.dim for name, encoder in encoders.items()}

    def place(self, views: Mapping[str, list[View]], encode: Encode, edges: Sequence[tuple[str, str]]) -> JointBatch:
        """Return the rows of every modality in the space.

        A modality is encoded once however many edges it has, and not at all when none of them has a pair here. Other
        ranks may have pairs, and wait for this one's gradient: rows without a record are still rows of the map.
        """
        live = {name for edge in edges if all(views[end] for end in edge) for name in edge}
        there = [view for name in self if name in live for view in views[name]]
        placed = JointBatch(self, {}, {}, {})
        for view, features in zip(there, encode(there), strict=True):
            name, rows_ND = view.modality, self[view.modality](features.pooled)
            if view.is_negative:
                placed.negatives[name] = (
                    torch.cat([placed.negatives[name], rows_ND]) if name in placed.negatives else rows_ND
                )
            else:
                placed.views[name], placed.rows[name], placed.pooled[name] = view, rows_ND, features.pooled.detach()
        return placed

    def nothing(self, name: str) -> tuple[Tensor, Tensor]:
        """Return no features (0, G) of a modality, and no rows (0, D), which still belong to its map."""
        like = next(self.parameters())
        features_0G = like.new_zeros(0, self._widths[name])
        return features_0G, self[name](features_0G)


class Pair(NamedTuple):
    """The records that have both modalities of an edge.

    Args:
        x: float (N, D), rows of the one in the joint space.
        y: float (N, D), rows of the other.
        keys: what the records are recognized by, int64 (N,) by name.
        pooled: features (N, G) of both modalities, as their encoders give them, detached, by modality.
    """

    x: Tensor
    y: Tensor
    keys: dict[str, Tensor]
    pooled: dict[str, Tensor]


@dataclass
class JointBatch:
    """A batch in the joint space. A modality that no edge needs here has no rows, which other ranks may wait for.

    Args:
        space: what placed it.
        views: modality name -> its view.
        rows: modality name -> its rows (B, D).
        pooled: modality name -> features (B, G), detached.
        negatives: modality name -> rows of its views that are negatives.
    """

    space: JointEmbedding
    views: dict[str, View]
    rows: dict[str, Tensor]
    pooled: dict[str, Tensor]
    negatives: dict[str, Tensor] = field(default_factory=dict)

    def paired(self, name: str, edges: Sequence[tuple[str, str]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the rows of one modality that have a partner on one of the edges, and their records' keys."""
        if name not in self.rows:
            return self.space.nothing(name)[1], self._no_keys(name)
        view = self.views[name]
        partners = [self.views[x if y == name else y] for x, y in edges if name in (x, y) and {x, y} <= set(self.rows)]
        kept_N = torch.stack([partner.present for partner in partners]).any(0)[view.present]  # type: ignore[arg-type]
        return self.rows[name][kept_N], {key: ids_N[kept_N] for key, ids_N in view.keys.items()}

    def pair(self, x: str, y: str) -> Pair:
        """Return the records that have both modalities, or none of them."""
        if x not in self.rows or y not in self.rows:
            (x_0G, x_0D), (y_0G, y_0D) = self.space.nothing(x), self.space.nothing(y)
            return Pair(x_0D, y_0D, self._no_keys(x), {x: x_0G, y: y_0G})
        both_B = self.views[x].present & self.views[y].present
        kept = {name: both_B[self.views[name].present] for name in (x, y)}
        return Pair(
            self.rows[x][kept[x]],
            self.rows[y][kept[y]],
            {key: ids_B[kept[x]] for key, ids_B in self.views[x].keys.items()},
            {name: self.pooled[name][kept[name]] for name in (x, y)},
        )

    def _no_keys(self, name: str) -> dict[str, Tensor]:
        none_0 = torch.zeros(0, dtype=torch.int64, device=self.space.nothing(name)[0].device)
        return {"record": none_0, "group": none_0}


def exactly_two(encoders: Mapping[str, Encoder], objective: str) -> tuple[str, str]:
    """Return the names of the two modalities that an objective aligns.

    Raises:
        SensoriumError: when there are fewer or more.
    """
    if len(encoders) != 2:
        raise SensoriumError(
            f"The objective '{objective}' aligns two modalities, the recipe has {len(encoders)} ({', '.join(encoders)})"
            "; 'align' takes any number of them."
        )
    first, second = encoders
    return first, second
