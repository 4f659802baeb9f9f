"""Encoders of point clouds: permutation-invariant ones.

Letters: B clouds, N points, C coordinates of a point, G groups, P points of a group, K kept groups, D width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features, SensoriumError, TokenEncoder, Tokens
from sensorium_points.modality import Clouds, Points


class PointNet(Encoder):
    """PointNet: a perceptron on each point, then the maximum over points (Qi et al. 2017), without alignment networks.

    Every point is a token, so objectives of tokens can use it.

    Args:
        dim: width of the features.
        width: hidden width.
    """

    def __init__(self, modality: Points, dim: int = 128, width: int = 64) -> None:
        super().__init__()
        self.dim = dim
        self.points = nn.Sequential(
            nn.Linear(modality.width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, dim),
        )
        self.cloud = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, batch: Clouds) -> Features:
        """Encode clouds to features (B, dim)."""
        points_BND = self.points(batch.xyz)
        tallest_BD = points_BND.masked_fill(~batch.mask[..., None], float("-inf")).amax(1)
        pooled_BD = tallest_BD + self.cloud(tallest_BD)
        return Features(pooled_BD.float(), points_BND * batch.mask[..., None], batch.mask)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x_BGD: Tensor, allowed_B1GG: Tensor) -> Tensor:
        """Return the tokens after attention to the allowed ones."""
        q, k, v = self.qkv(self.norm(x_BGD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_BHGd = F.scaled_dot_product_attention(q, k, v, allowed_B1GG)
        x_BGD = x_BGD + self.out(mixed_BHGd.transpose(1, 2).flatten(2))
        return x_BGD + self.mlp(x_BGD)


def farthest_points(batch: Clouds, count: int, space: int) -> Tensor:
    """Return G points of each cloud, each the farthest from those before it: int64 (B, G).

    Farthest point sampling (Qi et al. 2017b, section 3.2). The first is the one farthest from the center, so that the
    choice depends on the set of points alone; of a cloud of fewer points some are chosen twice.
    """
    where_BNS = batch.xyz[..., :space].detach().float()
    # The distance to the nearest chosen point, below that of every point in padding.
    nearest_BN = where_BNS.square().sum(-1).masked_fill(~batch.mask, -1.0)
    chosen = []
    for step in range(count):
        index_B1 = nearest_BN.argmax(1, keepdim=True)
        chosen.append(index_B1)
        distance_BN = (where_BNS - where_BNS.take_along_dim(index_B1[..., None], 1)).square().sum(-1)
        distance_BN = distance_BN.masked_fill(~batch.mask, -1.0)
        nearest_BN = distance_BN if step == 0 else nearest_BN.minimum(distance_BN)
    return torch.cat(chosen, dim=1)


class GroupTransformer(TokenEncoder):
    """A transformer on groups of neighboring points, as Point-BERT and Point-MAE (Yu et al. 2022, Pang et al. 2022).

    Centers are chosen by farthest point sampling; a group is the nearest points of a center, relative to it, encoded by
    a small PointNet. A group's position is its center, embedded. The target of a token is its points relative to the
    center, sorted by their angle, with their values.

    Args:
        dim: width of the tokens.
        depth: number of blocks.
        heads: attention heads; they divide `dim`.
        groups: number of groups, >= 1; a cloud of fewer points has as many groups as points.
        points: points of a group, >= 1.
    """

    def __init__(
        self, modality: Points, dim: int = 64, depth: int = 2, heads: int = 4, groups: int = 16, points: int = 4
    ) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"The encoder 'groups' has a width of {dim}, which {heads} heads do not divide.")
        self.dim, self.groups, self.points, self.space = dim, groups, points, modality.space
        self.target_dim = points * modality.width
        self.embed = nn.Sequential(nn.Linear(modality.width, dim), nn.GELU(), nn.Linear(dim, dim))
        self.place = nn.Sequential(nn.Linear(modality.space, dim), nn.GELU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def grouped(self, batch: Clouds) -> tuple[Tensor, Tensor, Tensor]:
        """Return centers (B, G, S), the points of each group relative to its center (B, G, P, C), and valid groups."""
        space, n = self.space, batch.xyz.shape[1]
        count = min(self.groups, n)
        center_BG = farthest_points(batch, count, space)
        where_BNS = batch.xyz[..., :space]
        center_BGS = where_BNS.take_along_dim(center_BG[..., None], 1)
        distance_BGN = (center_BGS[:, :, None] - where_BNS[:, None]).square().sum(-1)
        distance_BGN = distance_BGN.masked_fill(~batch.mask[:, None], float("inf"))
        nearest_BGP = distance_BGN.argsort(-1)[..., : self.points]
        missing = self.points - nearest_BGP.shape[-1]
        nearest_BGP = torch.cat([nearest_BGP, nearest_BGP[..., :1].expand(-1, -1, missing)], dim=-1)
        padded_BGP = ~batch.mask[:, None].expand(-1, count, -1).gather(2, nearest_BGP)
        nearest_BGP = torch.where(padded_BGP, nearest_BGP[..., :1], nearest_BGP)
        points_BGPC = batch.xyz.take_along_dim(nearest_BGP.flatten(1)[..., None], 1).unflatten(1, (count, -1))
        relative_BGPS = points_BGPC[..., :space] - center_BGS[:, :, None]
        valid_BG = torch.arange(count, device=batch.device) < batch.mask.sum(1, keepdim=True)
        return center_BGS, torch.cat([relative_BGPS, points_BGPC[..., space:]], dim=-1), valid_BG

    def tokenize(self, batch: Clouds) -> Tokens:
        """Return a token (B, G, D) for each group."""
        center_BGS, points_BGPC, valid_BG = self.grouped(batch)
        return Tokens(self.embed(points_BGPC).amax(2), self.place(center_BGS), valid_BG)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode all groups, or those at `keep` (B, K); the pooled features are the mean of the tokens."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BGD, valid_BG = tokens.x + tokens.positions, tokens.valid()
        allowed_BGG = valid_BG[:, None] | torch.eye(x_BGD.shape[1], dtype=torch.bool, device=x_BGD.device)
        for block in self.blocks:
            x_BGD = block(x_BGD, allowed_BGG[:, None])
        x_BGD = self.norm(x_BGD) * valid_BG[..., None]
        pooled_BD = x_BGD.float().sum(1) / valid_BG.sum(1, keepdim=True).clamp(min=1)
        return Features(pooled_BD, x_BGD, valid_BG)

    def token_targets(self, batch: Clouds) -> Tensor:
        """Return the points of each group around its center, by their angle: float (B, G, P * C)."""
        _, points_BGPC, _ = self.grouped(batch)
        angle_BGP = torch.atan2(points_BGPC[..., 1], points_BGPC[..., 0])
        return points_BGPC.take_along_dim(angle_BGP.argsort(-1)[..., None], 2).flatten(2).float()
