"""What tables ask for: unknown categories, missing cells, draws from the train part, files of mixed columns."""

import pytest
import torch
from sensorium_tabular.columns import HIDDEN, MISSING, PRESENT
from sensorium_tabular.modality import Tabular
from sensorium_tabular.source import SklearnTable
from sensorium_tabular.views import CellMask, Corrupted, Scarf

import sensorium

ROWS = [
    {"age": age, "city": city} for age, city in [(20, "Lima"), (30, "Oslo"), (None, "Lima"), (40, ""), (50, "Oslo")]
]


def fitted():
    modality = Tabular()
    modality.fit(ROWS)
    return modality


def test_kinds_scales_and_vocabularies_are_learned_from_the_train_part():
    modality = fitted()
    assert modality.columns.names == ["age", "city"]
    assert modality.columns.numeric[0].mean == 35.0
    assert modality.columns.categorical[0].vocabulary == ["Lima", "Oslo"]
    row = modality.decode({"age": "35", "city": "Cairo", "surname": "Ba"})
    assert (row.numbers.tolist(), row.categories.tolist(), row.state.tolist()) == ([0.0], [0], [PRESENT, PRESENT])
    assert modality.describe(None, row)["unknown category"]
    assert modality.decode({"age": "NA", "city": "Oslo"}).state.tolist() == [MISSING, PRESENT]


def test_a_word_among_numbers_is_named():
    with pytest.raises(sensorium.BadSample, match="column 'age' has numbers, and this cell is 'old'"):
        fitted().decode({"age": "old"})


def test_scarf_draws_each_cell_from_the_train_part():
    modality = fitted()
    batch = modality.collate([modality.decode({"age": 1000, "city": "Cairo"})] * 2000)
    views = Scarf(modality, rate=0.5)(batch, torch.Generator().manual_seed(0))
    assert views[0].batch is batch
    drawn = views[1].batch
    changed = drawn.numbers[:, 0] != batch.numbers[:, 0]
    assert 0.3 < changed.float().mean() < 0.7
    ages = {
        round(x * modality.columns.numeric[0].std + 35)
        for x in drawn.numbers[changed & (drawn.state[:, 0] == PRESENT), 0].tolist()
    }
    assert ages == {20, 30, 40, 50}
    missing = (drawn.state[:, 0] == MISSING)[changed].float().mean()
    assert 0.1 < missing < 0.3  # one of five


def test_targets_say_what_was_hidden_and_what_was_corrupted():
    modality = fitted()
    batch = modality.collate([modality.decode(row) for row in ROWS])
    (view,) = CellMask(modality, rate=0.5)(batch, torch.Generator().manual_seed(0))
    masked = view.info["masked"]
    assert masked.sum(1).tolist() == [1, 1, 1, 1, 1]
    assert ((view.batch.state == HIDDEN) == masked).all()
    assert ((view.target >= 0) == masked).all()
    assert view.target.max() < modality.columns.classes
    (view,) = Corrupted(modality, rate=0.5)(batch, torch.Generator().manual_seed(0))
    assert not view.target[(view.batch.state == batch.state).all(1) & (view.batch.numbers == batch.numbers).all(1)][
        :, 0
    ].any()


def test_a_csv_file_of_mixed_columns_trains(tmp_path):
    source = SklearnTable("penguins")
    lines = ["bill,mass,island,species"]
    for record in source:
        cells = record.values["tabular"]
        words = [cells["culmen_length_mm"], cells["body_mass_g"], cells["island"], record.labels["class"]]
        lines.append(",".join("" if word is None else str(word) for word in words))
    (tmp_path / "penguins.csv").write_text("\n".join(lines))
    columns = {"tabular": {"bill": "bill", "mass": "mass", "island": "island"}}
    model = sensorium.fit(
        {
            "data": {
                "source": {
                    "name": "table",
                    "path": str(tmp_path / "penguins.csv"),
                    "columns": columns,
                    "labels": ["species"],
                },
                "batch": 64,
            },
            "modalities": {"tabular": {"views": "scarf", "encoder": "columns"}},
            "objective": "simclr",
            "train": {"steps": 2, "accelerator": "cpu"},
            "evaluate": {"evaluators": {"knn": {"label": "species"}}},
            "log": {"loggers": {}},
        },
        run_dir=tmp_path / "run",
    )
    learned = model.plan.modalities["tabular"].columns
    assert [column.name for column in learned.numeric] == ["bill", "mass"]
    assert learned.categorical[0].vocabulary == ["Biscoe", "Dream", "Torgersen"]
    assert len(model.embed(tabular=[{"bill": 40.1}])["tabular"]) == 1
