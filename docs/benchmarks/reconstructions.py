"""Reconstructions by a masked autoencoder and colors by a colorization model, on test images, as one PNG.

    python docs/benchmarks/reconstructions.py --steps 2000 --out reconstructions.png
    python docs/benchmarks/reconstructions.py --table cifar10-train.parquet cifar10-test.parquet --steps 2000

Rows of the PNG: the input, its visible patches (a quarter), the masked ones as the decoder reconstructs them, the
lightness alone, the colors predicted from it. Images are the first of the test part; none was selected.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

import sensorium
from sensorium import Batch, View
from sensorium.blocks.token_decoder import token_counts, token_indices
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import iterate
from sensorium.data.unreadable import UnreadableRecords
from sensorium.evaluation.part_reader import PartReader
from sensorium.modalities.image.encoders.normalize import MEAN, STD
from sensorium.modalities.image.views.lab import color_bins, from_lab
from sensorium.models.learner import make_views
from sensorium.models.model import Model

SIZE, PATCH, COUNT = 32, 4, 12
TEMPERATURE = 0.38
"""Softmax temperature of the predicted colors before their mean is taken (Zhang et al. 2016, section 2.3)."""
ENCODER = (
    f"modalities.image.encoder={{name: vit, patch: {PATCH}, width: 128, depth: 4, heads: 4, normalize_targets: false}}"
)


def main() -> None:
    """Train both, draw their predictions on the test part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs=2, metavar=("TRAIN", "TEST"), help="tables of images; default OpenMoji")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("reconstructions.png"))
    asked = parser.parse_args()
    rows: list[Tensor] = []
    for recipe, draw in (("mae", reconstructed), ("colorization", colored)):
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            model = sensorium.fit(recipe, overrides(recipe, asked), run_dir=Path(folder) / "run")
            drawn = draw(model, view_of_test(model))
        print(f"{recipe}: {time.monotonic() - start:.0f} s")
        rows += drawn if not rows else drawn[1:]
    grid = torch.cat([torch.cat(list(row.clamp(0, 1)), dim=2) for row in rows], dim=1)
    pixels = (grid.movedim(0, 2) * 255).round().byte().numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(asked.out, optimize=True)


def overrides(recipe: str, asked: argparse.Namespace) -> list[str]:
    """Return what differs from the shipped recipe: the images, finer patches, the length."""
    given = [ENCODER, f"train.steps={asked.steps}", "evaluate.evaluators={}", "optimizer.lr=1e-3"]
    if recipe == "colorization":
        given.append(f"modalities.image.views.patch={PATCH}")
    if asked.table:
        train, test = asked.table
        given += [
            f"data.source={{name: table, splits: {{train: {train}, test: {test}}}, columns: {{image: image}}}}",
            "data.test=0",
        ]
    return given


def view_of_test(model: Model) -> tuple[Batch, View]:
    """Return the first images of the test part, and the whole of each as the recipe's generator makes its view."""
    assert model.run is not None
    plan = model.plan
    source = plan.open_source()
    positions = PartReader(plan, source, model.run).positions("test")[:COUNT]
    bad = UnreadableRecords(len(source), 1.0, model.run.unreadable_file)
    (records,) = iterate(
        RecordDecoder(source, plan.fields, plan.modalities), positions, batch=COUNT, bad=bad, workers=0
    )
    generator = plan.generators["image"]
    for policy in getattr(generator, "global_policies", ()):
        object.__setattr__(policy, "scale", (1.0, 1.0))
        object.__setattr__(policy, "flip", 0.0)
    ((view,),) = make_views(records, plan.generators, torch.Generator().manual_seed(0)).values()
    return records.batches["image"], view


@torch.no_grad()
def reconstructed(model: Model, given: tuple[Batch, View]) -> list[Tensor]:
    """Return the images, their visible patches, and these with the decoder's predictions of the masked ones."""
    batch, view = given
    learner = model.learner.eval()
    encoder, decoder = learner.encoders["image"], learner.objective.decoder
    tokens = encoder.tokenize(view.batch)
    t = tokens.x.shape[1]
    masked_BT = torch.rand(len(batch), t, generator=torch.Generator().manual_seed(1)).argsort(1) < round(0.75 * t)
    no_filler_BT = torch.zeros_like(masked_BT)
    visible, masked = token_counts((~masked_BT, no_filler_BT), (masked_BT, ~masked_BT))
    visible_BK, _ = token_indices(~masked_BT, no_filler_BT, visible)
    masked_BM, mask_BM = token_indices(masked_BT, ~masked_BT, masked)
    predictions_BMP = decoder(
        encoder.encode_tokens(tokens, visible_BK), tokens.positions, visible_BK, masked_BM, mask_BM
    )
    patches_BTP = encoder.token_targets(view.batch)
    visible_BTP = torch.where(masked_BT[..., None], torch.zeros_like(patches_BTP), patches_BTP)
    restored_BTP = patches_BTP.scatter(1, masked_BM[..., None].expand_as(predictions_BMP), predictions_BMP)
    return [batch.unit_pixels(), images(visible_BTP), images(restored_BTP)]


def images(patches_BTP: Tensor) -> Tensor:
    """Return the pixels in [0, 1] of patches as the encoder normalizes them: float (B, 3, H, W)."""
    side = SIZE // PATCH
    x = patches_BTP.unflatten(1, (side, side)).unflatten(3, (3, PATCH, PATCH)).permute(0, 3, 1, 4, 2, 5)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return x.reshape(len(x), 3, SIZE, SIZE) * std + mean


@torch.no_grad()
def colored(model: Model, given: tuple[Batch, View]) -> list[Tensor]:
    """Return the images, their lightness, and that with the mean of the sharpened colors of each patch."""
    batch, view = given
    learner, side = model.learner.eval(), SIZE // PATCH
    logits_BTQ = learner.objective.head(learner.encoders["image"](view.batch).tokens)
    ab_BT2 = (logits_BTQ / TEMPERATURE).softmax(-1) @ color_bins()
    ab_B2HW = interpolate(ab_BT2.transpose(1, 2).unflatten(2, (side, side)), (SIZE, SIZE), mode="bilinear")
    lab_B3HW = torch.cat([view.batch.pixels[:, :1] * 100, ab_B2HW], dim=1)
    return [batch.unit_pixels(), view.batch.pixels, from_lab(lab_B3HW)]


if __name__ == "__main__":
    main()
