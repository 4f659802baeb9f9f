"""Every contrastive loss, dense and round the ring: value and gradient on ranks are those of the joined batch.

All cases of one number of ranks share one set of processes.
"""

import pytest
import torch

from sensorium import losses
from sensorium.losses.engine import streamed
from sensorium.losses.hardness import Guide
from tests.distributed.ranks import on_ranks

SPLITS = {2: [(5, 2), (6, 0)], 4: [(3, 0, 2, 4)]}
TILES = (64, 3)
"""Dense, and a streamed form whose tiles divide nothing."""
LOSSES = {
    "clip": lambda d, s: losses.clip(d["x"], d["y"], s),
    "nt_xent": lambda d, s: losses.nt_xent(d["x"], d["y"], 1 / s),
    "info_nce": lambda d, s: losses.info_nce(d["x"], d["y"], 1 / s),
    "info_nce, more keys": lambda d, s: losses.info_nce(
        d["x"], torch.cat([d["y"], d["x"] + d["y"]]), 1 / s, torch.arange(len(d["x"]))
    ),
    "supervised_contrastive": lambda d, s: losses.supervised_contrastive(d["x"] + 0 * d["y"], d["labels"], 1 / s),
    "debiased": lambda d, s: losses.debiased(d["x"], d["y"], 1 / s, prior=0.02),
    "hcl": lambda d, s: losses.hcl(d["x"], d["y"], 1 / s, beta=0.5, prior=0.02),
    "hn_nce": lambda d, s: losses.hn_nce(d["x"], d["y"], s, alpha=0.5, beta=0.5),
    "hn_nce masked": lambda d, s: losses.hn_nce(
        d["x"], d["y"], s, groups_B=d["labels"], guide=Guide(d["gx"], d["gy"], 0.1)
    ),
    "many_positives": lambda d, s: losses.unicl(d["x"], d["y"], s, d["labels"]),
    "one direction": lambda d, s: losses.hn_nce(
        d["x"], d["y"], s, 0.7, 0.5, d["labels"], Guide(d["gx"], d["gy"], 0.1), 0.02, extra_negatives(d), both=False
    ),
    "many_positives of one direction": lambda d, s: losses.unicl(d["x"], d["y"], s, d["labels"], both=False),
    "everything at once": lambda d, s: losses.hn_nce(
        d["x"],
        d["y"],
        s,
        0.7,
        0.5,
        d["labels"],
        Guide(d["gx"], d["gy"], 0.1),
        0.02,
        extra_negatives(d),
        extra_negatives(d),
    ),
    "hcl with everything": lambda d, s: losses.hcl(
        d["x"], d["y"], 1 / s, 0.5, 0.02, 0.7, d["labels"], Guide(d["gx"], d["gy"], 0.1), extra_negatives(d)
    ),
    "queue_contrast": lambda d, s: losses.queue_info_nce(
        d["x"] + 0 * d["y"], d["gx"], [shared()], 1 / s, 0.5, ids_B=d["labels"]
    ),
    "global contrast": lambda d, s: losses.global_contrastive(
        losses.log_normalizers(d["x"], d["y"], s), torch.stack([d["gx"][:, 0], d["gy"][:, 0]], 1), 1 / s, 2.0
    ),
    "siglip further": lambda d, s: losses.siglip(
        d["x"], d["y"], s, -s, d["labels"], extra_negatives(d), extra_negatives(d)
    ),
    "siglip": lambda d, s: losses.siglip(d["x"], d["y"], s, s - 5),
    "siglip groups": lambda d, s: losses.siglip(d["x"], d["y"], s, -s, d["labels"]),
    "one rank's rows alone": lambda d, s: alone(d["x"], d["y"], s),
}
MUTANT = "one rank's rows alone"


def shared():
    """What every rank holds alike: a memory."""
    rng = torch.Generator().manual_seed(5)
    return losses.NegativeRows(torch.randn(7, 6, generator=rng, dtype=torch.float64), torch.arange(7) - 1)


def extra_negatives(d):
    """A memory, and a corrupted negative of each record, on its rank alone."""
    return [shared(), losses.NegativeRows(d["x"] * d["y"], shared=False)]


def alone(x, y, scale):
    """Forget the other ranks: what a loss without any exchange gives."""
    logits = scale * torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(y, dim=1).T
    own = torch.arange(len(x))
    each = torch.nn.functional.cross_entropy(logits, own, reduction="sum")
    return (each + torch.nn.functional.cross_entropy(logits.T, own, reduction="sum")) / max(2 * len(x), 1)


def data(n):
    rng = torch.Generator().manual_seed(0)
    made = {name: torch.randn(n, 6, generator=rng, dtype=torch.float64) for name in ("x", "y", "gx", "gy")}
    made["y"] += 0.5 * made["x"]
    return made | {"labels": torch.arange(n) % 4}


def results(name, given):
    given = given | {side: given[side].clone().requires_grad_() for side in ("x", "y")}
    knob = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    loss = LOSSES[name](given, knob)
    (2 * loss).backward()  # an outer scale, as gradient accumulation has, must pass through
    return {"loss": loss.detach(), "x": given["x"].grad, "y": given["y"].grad, "knob": knob.grad}


def one_rank(rank, world):
    found = {}
    for tile in TILES:
        streamed.CPU_TILE = tile
        for sizes in SPLITS[world]:
            given = {key: value.split(sizes)[rank] for key, value in data(sum(sizes)).items()}
            for name in LOSSES:
                found[tile, sizes, name] = results(name, given)
    return found


def agree(found, whole):
    """Whether the mean over ranks, as DDP takes it, is the whole."""
    world = len(found)
    joined = {side: torch.cat([f[side] for f in found]) / world for side in ("x", "y")}
    joined |= {key: sum(f[key] for f in found) / world for key in ("loss", "knob")}
    return all(torch.allclose(joined[key], whole[key], rtol=1e-9, atol=1e-12) for key in whole)


@pytest.mark.parametrize("world", SPLITS)
def test_ranks_agree_with_one_process(world, tmp_path):
    found = on_ranks(world, one_rank, tmp_path)
    wrong = []
    for case in found[0]:
        _, sizes, name = case
        right = agree([f[case] for f in found], results(name, data(sum(sizes))))
        if right == (name == MUTANT):
            wrong.append(case)
    assert wrong == []
