"""SIGReg: sketched isotropic Gaussian regularization, a normality test along random directions.

Letters: N or B this rank's rows, M joined rows of all ranks, T steps, D width, S directions, K integration points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives


def random_directions(dim: int, count: int, device: torch.device) -> Tensor:
    """Return unit columns (dim, count), uniform on the sphere, the same on every rank.

    Rank 0 draws them from torch's global generator; the others take part and receive them.

    Args:
        dim: D, >= 1.
        count: S, number of directions, >= 1.
        device: of the result.
    """
    columns_DS = F.normalize(torch.randn(dim, count, device=device), dim=0)
    return collectives.all_reduce_sum(columns_DS if collectives.rank() == 0 else torch.zeros_like(columns_DS))


def sigreg(z_ND: Tensor, directions_DS: Tensor, limit: float = 5.0, points: int = 17) -> Tensor:
    """SIGReg: mean Epps-Pulley statistic of the rows along each direction (Balestriero and LeCun 2025, algorithm 1).

    Along a direction it is M times the integral over t of |f(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), where f is the
    characteristic function of the joined batch's rows; by the trapezoidal rule on [-limit, limit].

    Args:
        z_ND: this rank's rows; computed in fp32 (fp64 stays).
        directions_DS: unit columns, the same on every rank (`random_directions`).
        limit: upper bound of the integral, > 0.
        points: number of integration points, odd.

    Returns:
        The statistic of the joined batch, the same on every rank, with the joined batch's gradient after the mean over
        ranks. About 1.06 for rows of the Gaussian, however many; it grows with M for others. Zero without rows.
    """
    with outside_autocast(z_ND):
        z_ND = at_least_fp32(z_ND)
        t_K, gauss_K, weight_K = _integration(z_ND, limit, points)
        angle_NSK = (z_ND @ directions_DS.to(z_ND.dtype)).unsqueeze(-1) * t_K
        sums_2SK = torch.stack([angle_NSK.cos().sum(0), angle_NSK.sin().sum(0)])
        sums_2SK = collectives.all_gather(sums_2SK[None])[0].sum(0)
        m = collectives.count_rows(z_ND)
        cos_SK, sin_SK = sums_2SK / max(m, 1)
        return m * (((cos_SK - gauss_K).square() + sin_SK.square()) @ weight_K).mean()


def sigreg_by_step(
    z_BTD: Tensor, mask_BT: Tensor, directions_DS: Tensor, limit: float = 5.0, points: int = 17
) -> Tensor:
    """SIGReg of sequences: mean over steps of `sigreg` of the rows that are valid there (Maes et al. 2026).

    Each step is compared with the Gaussian by itself, not all of them together: embeddings that tell steps apart, but
    not records, fail.

    Args:
        z_BTD: this rank's rows; computed in fp32 (fp64 stays). Ranks may have different T.
        mask_BT: bool, the padding mask: True where a row has that step.
        directions_DS: unit columns, the same on every rank (`random_directions`), and for all steps.
        limit: upper bound of the integral, > 0.
        points: number of integration points, odd.

    Returns:
        The statistic of the joined batch, the same on every rank, with the joined batch's gradient after the mean over
        ranks. About 1.06 for rows of the Gaussian, however many; for others it grows with the number of records, as the
        authors' own. Zero without rows.
    """
    with outside_autocast(z_BTD):
        z_BTD = at_least_fp32(z_BTD)
        t_K, gauss_K, weight_K = _integration(z_BTD, limit, points)
        angle_BTSK = (z_BTD @ directions_DS.to(z_BTD.dtype)).unsqueeze(-1) * t_K
        valid_BT = mask_BT.to(z_BTD.dtype)
        sums_2TSK = torch.stack(
            [torch.einsum("btsk,bt->tsk", f, valid_BT) for f in (angle_BTSK.cos(), angle_BTSK.sin())]
        )
        counts_T = valid_BT.sum(0)
        shorter = max(collectives.rank_sizes(len(counts_T))) - len(counts_T)  # than the longest on any rank
        sums_2TSK = collectives.all_gather(F.pad(sums_2TSK, (0, 0, 0, 0, 0, shorter))[None])[0].sum(0)
        counts_T = collectives.all_reduce_sum(F.pad(counts_T, (0, shorter)))
        cos_TSK, sin_TSK = sums_2TSK / counts_T.clamp(min=1)[:, None, None]
        statistic_T = counts_T * (((cos_TSK - gauss_K).square() + sin_TSK.square()) @ weight_K).mean(1)
        return statistic_T.sum() / (counts_T > 0).sum().clamp(min=1)


def _integration(z: Tensor, limit: float, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return integration points, the Gaussian's characteristic function there, and their weights: (K,) each."""
    # The integrand is even in t: the points from 0 on are enough, those inside counted twice.
    t_K = torch.linspace(0, limit, points // 2 + 1, dtype=z.dtype, device=z.device)
    gauss_K = (-t_K.square() / 2).exp()
    weight_K = gauss_K * 2 * t_K[1]
    weight_K[0], weight_K[-1] = weight_K[0] / 2, weight_K[-1] / 2
    return t_K, gauss_K, weight_K
