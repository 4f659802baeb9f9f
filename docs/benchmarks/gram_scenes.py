"""Synthetic scenes whose pixels have known labels: textured objects on textured ground, and measurements of tokens."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

SIDE, PATCH, KINDS = 32, 4, 6
"""Pixels of a side, of a patch; kinds of objects, beside which there is the ground, class 0."""
NEIGHBORS = 10
"""Of the k-nearest-neighbor classifier of tokens."""


@cache
def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return scenes, uint8 (N, 3, 32, 32), and the class of each pixel, int64 (N, 32, 32): 0 is the ground.

    Of an object the kind decides shape and texture; place, size, rotation and both colors are random.
    """
    rng = np.random.default_rng([seed, count])
    made = [_scene(rng) for _ in range(count)]
    pixels, labels = (np.stack(parts) for parts in zip(*made, strict=True))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (H, W, 3) and the labels (H, W) of one scene."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    wave = np.sin(rng.uniform(0.1, 0.3) * (x * np.cos(t := rng.uniform(0, 2 * np.pi)) + y * np.sin(t)))
    pixels = _colored(0.5 + 0.5 * wave, rng)
    labels = np.zeros((SIDE, SIDE), np.int64)
    for _ in range(rng.integers(2, 5)):
        kind, angle = rng.integers(KINDS), rng.uniform(0, 2 * np.pi)
        radius, (center_y, center_x) = rng.uniform(5, 9), rng.uniform(4, SIDE - 4, 2)
        along = (x - center_x) * np.cos(angle) + (y - center_y) * np.sin(angle)
        across = (y - center_y) * np.cos(angle) - (x - center_x) * np.sin(angle)
        inside, texture = _object(kind, along / radius, across / radius, radius)
        pixels = np.where(inside[..., None], _colored(texture, rng), pixels)
        labels[inside] = kind + 1
    noisy = pixels + rng.normal(0, 0.04, pixels.shape)
    return (noisy.clip(0, 1) * 255).astype(np.uint8), labels


def _object(kind: int, u: np.ndarray, v: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels an object of a kind covers, and its texture in [0, 1]; (u, v) are in units of its radius."""
    square, distance = np.maximum(abs(u), abs(v)), np.hypot(u, v)
    shapes = (
        distance < 0.9,  # disk
        square < 0.8,  # square
        (v < 0.7) & (abs(u) < 0.55 * (v + 1)),  # triangle
        (distance < 1) & (distance > 0.45),  # ring
        (np.minimum(abs(u), abs(v)) < 0.32) & (square < 1),  # cross
        (abs(u) < 1.2) & (abs(v) < 0.4),  # bar
    )
    stripes, rows = np.sin(np.pi * radius * u / 2), np.sin(np.pi * radius * v / 2)
    textures = (
        np.cos(np.pi * distance * radius / 2) > 0,
        stripes * rows > 0,
        stripes > 0,
        np.arctan2(v, u) % (np.pi / 3) > np.pi / 6,
        (u + 1) / 2,
        rows > 0,
    )
    return shapes[kind], textures[kind].clip(0, 1).astype(float)


def _colored(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a texture (H, W) between two random colors that are well apart, (H, W, 3)."""
    one = rng.uniform(0, 1, 3)
    other = (one + rng.uniform(0.3, 0.7, 3)) % 1
    return texture[..., None] * one + (1 - texture[..., None]) * other


def token_labels(labels: Tensor) -> Tensor:
    """Return the class of each patch, int64 (N, T): that of most of its pixels."""
    patches = labels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).flatten(3).flatten(1, 2)
    return torch.nn.functional.one_hot(patches, KINDS + 1).sum(2).argmax(2)


def measure(seen: dict[str, Tensor], shown: dict[str, Tensor]) -> dict[str, float]:
    """Return what features know of scenes: probes learn on the seen ones, and are measured on the shown ones.

    Args:
        seen: "tokens" (N, T, D), "pooled" (N, D) and "classes", int64 (N, T), of labeled scenes.
        shown: the same of others.
    """
    classes_M = shown["classes"].flatten()
    tokens_ND, tokens_MD = seen["tokens"].flatten(0, 1), shown["tokens"].flatten(0, 1)
    segmented = ridge(tokens_ND, one_hot(seen["classes"]).flatten(0, 1), tokens_MD).argmax(1)
    bank_ND, query_MD = (torch.nn.functional.normalize(x, dim=1) for x in (tokens_ND[::4], tokens_MD))
    similar, index = (query_MD @ bank_ND.T).topk(NEIGHBORS, dim=1)
    votes = (one_hot(seen["classes"].flatten()[::4][index]) * (similar / 0.07).exp()[..., None]).sum(1)
    present = ridge(seen["pooled"], has(seen["classes"]), shown["pooled"])
    aucs = [auc(present[:, k], has(shown["classes"])[:, k] > 0) for k in range(KINDS)]
    return {
        "linear mIoU": iou(segmented, classes_M),
        "kNN mIoU": iou(votes.argmax(1), classes_M),
        "same-object AUC": same_object(shown["tokens"], shown["classes"]),
        "pooled AUC": sum(aucs) / KINDS,
        "token cosine": mean_cosine(shown["tokens"]),
    }


def one_hot(classes: Tensor) -> Tensor:
    """Return classes as float indicators of all kinds and the ground."""
    return torch.nn.functional.one_hot(classes, KINDS + 1).float()


def has(classes_NT: Tensor) -> Tensor:
    """Return which kinds of objects each scene has, float (N, KINDS)."""
    return one_hot(classes_NT).amax(1)[:, 1:]


def ridge(x_ND: Tensor, y_NK: Tensor, x_MD: Tensor) -> Tensor:
    """Return predictions (M, K) of a ridge regression on standardized features, whose penalty is 1e-3 of their rows."""
    mean, std = x_ND.double().mean(0), x_ND.double().std(0) + 1e-6
    x_ND, x_MD = ((x.double() - mean) / std for x in (x_ND, x_MD))
    middle = y_NK.double().mean(0)
    penalty = 1e-3 * len(x_ND) * torch.eye(x_ND.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(x_ND.T @ x_ND + penalty, x_ND.T @ (y_NK.double() - middle))
    return x_MD @ weights + middle


def iou(predicted: Tensor, classes: Tensor) -> float:
    """Return the intersection over union of predicted and true patches, mean over classes."""
    matrix = torch.bincount(classes * (KINDS + 1) + predicted, minlength=(KINDS + 1) ** 2).view(KINDS + 1, -1).double()
    return float((matrix.diagonal() / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal()).clamp(min=1)).mean())


def auc(scores: Tensor, positive: Tensor) -> float:
    """Return the area under the ROC curve of scores, whose ties are few."""
    ranks = scores.argsort().argsort().double() + 1
    p, n = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - p * (p + 1) / 2) / max(p * n, 1))


def same_object(tokens_NTD: Tensor, classes_NT: Tensor) -> float:
    """Return how well cosines of patches of one scene tell whether both are of one kind: ROC-AUC, mean over scenes."""
    unit_NTD = torch.nn.functional.normalize(tokens_NTD, dim=2)
    first, second = torch.triu_indices(unit_NTD.shape[1], unit_NTD.shape[1], offset=1)
    found = []
    for unit_TD, classes_T in zip(unit_NTD, classes_NT, strict=True):
        same = classes_T[first] == classes_T[second]
        either = (classes_T[first] > 0) | (classes_T[second] > 0)  # two patches of the ground are easy
        if same[either].any() and not same[either].all():
            found.append(auc((unit_TD @ unit_TD.T)[first, second][either], same[either]))
    return sum(found) / len(found)


def mean_cosine(tokens_NTD: Tensor) -> float:
    """Return the mean cosine of all pairs of patches of a scene: near 1 where tokens hold one and the same."""
    unit_NTD = torch.nn.functional.normalize(tokens_NTD, dim=2)
    return float(unit_NTD.mean(1).square().sum(1).mean())
