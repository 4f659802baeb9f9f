"""From a file of SMILES to a tuned encoder, and the stream of molecules in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sensorium
from sensorium.data.loader import Loader
from sensorium.data.unreadable import UnreadableRecords
from sensorium.modalities.molecule.modality import MoleculeModality
from sensorium.modalities.molecule.sources.files import MoleculeFiles
from sensorium.modalities.molecule.sources.samples import RdkitSamples
from sensorium.registration.discovery import load_extensions

SMALL = [
    "data.batch=16",
    "data.workers=0",
    "data.max_bad=0.1",
    "train.steps=2",
    "train.accelerator=cpu",
    "log.loggers={}",
    "modalities.molecule.encoder.width=8",
    "modalities.molecule.encoder.depth=2",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """SMILES with names, three of them bad, and a labeled table."""
    folder = tmp_path_factory.mktemp("molecules")
    source = RdkitSamples("nci")
    records = [source[i] for i in range(0, 480, 4)]
    lines = [f"{r.values['molecule']} {r.id}" for r in records] + ["C(C broken", "c1ccc1c odd", "CN(C)(C)(C)C five"]
    (folder / "some.smi").write_text("\n".join(lines))
    rows = [f"{r.values['molecule']},{r.labels['tpsa']}" for r in records]
    (folder / "some.csv").write_text("\n".join(["smiles,tpsa", *rows]))
    return folder


def test_pretraining_then_fine_tuning(files, tmp_path):
    extensions = load_extensions({}, [])
    source = f"data.source={{name: molecules, path: {files / 'some.smi'}}}"
    changes = [source, *SMALL, "data.val=0", "data.test=0", "evaluate.evaluators={}"]
    model = sensorium.fit("molecules-moses", changes, run_dir=tmp_path / "run", extensions=extensions)
    assert (tmp_path / "run/views.png").stat().st_size > 0
    assert model.embed(molecule=["CCO", "c1ccccc1"], space="features")["molecule"].shape == (2, 8)

    labeled = f"data.source={{name: molecules, path: {files / 'some.csv'}, labels: [tpsa], split: scaffold}}"
    tuning = [
        "finetune.task=regression",
        "finetune.epochs=8",
        "finetune.seeds=1",
        "finetune.trees=10",
        "data.cache=ram",
    ]
    tuning += ["finetune.encoder_lr=0.01", "finetune.optimizer.lr=0.01"]
    done = sensorium.finetune(tmp_path / "run", [labeled, *tuning], run_dir=tmp_path / "tuned", extensions=extensions)
    rmse = {row.name: row.metrics["RMSE ↓"].mean for row in done.table.rows}
    assert list(rmse) == [
        *("chance", "baseline", "untrained, linear probe", "from scratch", "linear probe", "fine-tuned")
    ]
    assert max(rmse["baseline"], rmse["fine-tuned"]) < rmse["chance"]
    assert done.table.counts[1] > 5
    assert isinstance(sensorium.load_predictor(tmp_path / "tuned", extensions).predict(["CCO"])[0], float)


def test_an_interrupted_stream_goes_on_where_it_was(files, tmp_path):
    """Batches from a step on are those of a pass that was never stopped, bad records and workers notwithstanding."""

    def stream(start, stop, workers):
        source = MoleculeFiles(str(files / "some.smi"))
        loader = Loader(
            source,
            np.arange(len(source)),
            {"molecule": "molecule"},
            {"molecule": MoleculeModality()},
            seed=3,
            batch=20,
            bad=UnreadableRecords(len(source), 0.1, tmp_path / "unreadable.csv"),
            workers=workers,
        )
        return [records for (records,) in loader.batches(start, stop)]

    whole, rest = stream(0, 9, 0), stream(4, 9, 1)
    for a, b in zip(whole[4:], rest, strict=True):
        assert a.ids == b.ids
        assert all(
            torch.equal(x, y) for x, y in zip(*(r.batches["molecule"].tensors().values() for r in (a, b)), strict=True)
        )
    assert len((tmp_path / "unreadable.csv").read_text().splitlines()) == 1 + 3
