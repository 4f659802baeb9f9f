"""Fine-tuning from end to end, and its guard: no choice sees the test part."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import sensorium
from sensorium import Record, SensoriumError, Source
from sensorium.errors import DataError, Interrupted
from sensorium.evaluation.labels import choose_column
from sensorium.evaluation.part_reader import PartReader
from sensorium.finetuning.linear_probe import LinearProbe
from sensorium.finetuning.loop import EncoderWithHead
from sensorium.models.optimization import Optimization
from sensorium.recipe.schema import Finetune
from tests import toys

QUICK = ["finetune.epochs=6", "finetune.seeds=1", "finetune.labels=[class]", "finetune.trees=5", "data.cache=ram"]

BRIEF = ["finetune.epochs=1"]
"""Where what is chosen does not matter: each fold is a training."""


class Marked(Source):
    """Records of the toys with fixed parts, whose labels in some parts are replaced."""

    def __init__(self, lies=(), group=None):
        self.inner, self.lies, self.group, self.root = toys.vectors(count=160), lies, group, "."
        self.parts = ["train", "train", "val", "test"] * 40

    @property
    def fields(self):
        return self.inner.fields

    def __len__(self):
        return len(self.inner)

    def key(self, index):
        key, part = self.inner.key(index), self.parts[index]
        number = key.labels["class"]
        labels = {"class": (number + index) % 4 if part in self.lies else number, "size": float(number) + 0.25}
        labels |= {"even": number % 2, "big": None if index % 5 == 0 else int(number > 2)}
        return Record(key.id, {}, labels, part, self.group and self.group(index))

    def __getitem__(self, index):
        key = self.key(index)
        return Record(key.id, self.inner[index].values, key.labels, key.split, key.group)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "toy"
    recipe = toys.recipe()
    sensorium.fit(recipe, source=toys.vectors(), run_dir=folder, extensions=toys.extensions())
    return folder


def tuned(run, tmp_path, *changes, source=None, **options):
    return sensorium.finetune(
        run,
        [*QUICK, *changes],
        source=source or Marked(),
        run_dir=tmp_path,
        extensions=toys.extensions(),
        **options,
    )


def weights(done):
    return {n: w.clone() for n, w in done.predictor.finetuned.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_table_and_run_folder(run, tmp_path):
    done = tuned(run, tmp_path / "out", "finetune.seeds=2", "finetune.encoder_lr=0.003")
    rows = ["untrained, linear probe", "from scratch", "linear probe", "fine-tuned"]
    assert [row.name for row in done.table.rows] == ["chance", "baseline", *rows]
    assert len(done.table.row("fine-tuned").metrics["accuracy"].scores) == 2
    assert done.table.row("fine-tuned").metrics["accuracy"].mean > done.table.row("chance").metrics["accuracy"].mean
    assert any(note.startswith("epoch ") for note in done.table.row("from scratch").notes)
    assert "epoch by accuracy on the val part" in done.table.markdown()
    assert done.table.counts == (80, 40)
    written = json.loads((tmp_path / "out/evaluations/finetune.json").read_text())
    assert written["split"] == done.table.split
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert sum("fine-tuned 1/val/accuracy" in line for line in lines) == 7, "the linear probe, and 6 epochs"
    assert done.run.status()["state"] == "finished"

    raws = [toys.vectors(count=160)[i].values["a"] for i in range(3)]
    again = sensorium.load_predictor(tmp_path / "out", toys.extensions())
    assert again.predict(raws) == done.predictor.predict(raws)
    assert all(sum(answer.values()) == pytest.approx(1) for answer in again.predict(raws))
    plain = sensorium.load(tmp_path / "out", extensions=toys.extensions())
    before = sensorium.load(run, extensions=toys.extensions())
    embedded = [model.embed(a=raws, space="features")["a"] for model in (plain, before)]
    assert not torch.equal(*embedded), "the encoder of the folder is the tuned one"


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        (["finetune.task=regression", "finetune.labels=[size]"], "RMSE ↓"),
        (["finetune.task=multitask", "finetune.labels=[even,big]"], "ROC-AUC"),
    ],
)
def test_regression_and_multitask(run, tmp_path, changes, metric):
    done = tuned(run, tmp_path / "out", *changes, "finetune.encoder_lr=0.003", "finetune.epochs=15", start="trained")
    rows = {row.name: row.metrics[metric].mean for row in done.table.rows if metric in row.metrics}
    assert set(rows) == {"chance", "baseline", "linear probe", "fine-tuned"}
    for name in ("baseline", "linear probe", "fine-tuned"):
        assert rows[name] < rows["chance"] if "↓" in metric else rows[name] > rows["chance"]
    assert sensorium.load_predictor(tmp_path / "out", toys.extensions()).predict(["1 2 3 4 5 6 7 8"])


def test_the_same_seed_gives_the_same_bits(run, tmp_path):
    a, b = (tuned(run, tmp_path / name, start="trained") for name in "ab")
    assert same(weights(a), weights(b))
    assert a.table.public() == b.table.public()


def test_labels_of_the_test_part_reach_no_weight_and_no_choice(run, tmp_path):
    """False labels in the test part change its metrics alone; in the val part, the best epoch."""
    told = {
        lies: tuned(run, tmp_path / "-".join(["x", *lies]), source=Marked(lies)) for lies in ((), ("test",), ("val",))
    }
    assert same(weights(told[()]), weights(told["test",]))
    notes = {lies: [row.notes for row in done.table.rows] for lies, done in told.items()}
    assert notes[()] == notes["test",]
    metrics = [done.table.row("fine-tuned").metrics["accuracy"].mean for done in told.values()]
    assert metrics[0] != metrics[1]
    assert notes[()] != notes["val",]


def test_the_guard_notices_a_choice_on_the_test_part(run, tmp_path, monkeypatch):
    """Negative control of the test above: measured on the test part, the choice follows its labels."""
    batches = PartReader.batches

    def of_test(self, part, device):
        return batches(self, "test" if isinstance(part, str) and part == "val" else part)

    monkeypatch.setattr(PartReader, "batches", of_test)
    done = [tuned(run, tmp_path / f"leak{len(lies)}", source=Marked(lies)) for lies in ((), ("test",))]
    epochs = [[dict(row.notes) for row in one.table.rows] for one in done]
    assert epochs[0] != epochs[1]


def test_groups_across_parts_are_an_error(run, tmp_path):
    with pytest.raises(SensoriumError, match="records of one group must share a split"):
        tuned(run, tmp_path / "out", source=Marked(group=lambda index: f"group {index // 4}"))


def test_a_frozen_encoder_keeps_its_weights_and_statistics(run, tmp_path):
    done = tuned(run, tmp_path / "out", "finetune.freeze_epochs=6", start="trained")
    trained = sensorium.load(run, extensions=toys.extensions()).learner.encoders["a"].state_dict()
    assert same(trained, done.predictor.finetuned.encoder.state_dict())
    slow_head = ["finetune.width=8", "finetune.optimizer.lr=1e-6", "finetune.encoder_lr=0.01"]
    thawed = tuned(run, tmp_path / "thawed", "finetune.freeze_epochs=1", *slow_head, start="trained")
    assert not same(trained, thawed.predictor.finetuned.encoder.state_dict())


def statistics(encoder):
    return {name: value for name, value in encoder.state_dict().items() if "running" in name}


def test_statistics_of_batch_norm_may_stay_while_weights_are_trained(run, tmp_path):
    trained = sensorium.load(run, extensions=toys.extensions()).learner.encoders["a"]
    assert statistics(trained)
    changes = ["finetune.freeze_batch_norm=true", "finetune.encoder_lr=0.01", "finetune.width=8"]
    kept = tuned(run, tmp_path / "kept", *changes, start="trained").predictor.finetuned.encoder
    assert same(statistics(trained), statistics(kept))
    assert not same(trained.state_dict(), kept.state_dict())
    moved = tuned(run, tmp_path / "moved", *changes[1:], start="trained").predictor.finetuned.encoder
    assert not same(statistics(trained), statistics(moved))


def test_an_encoder_from_scratch_learns_its_statistics_whatever_is_kept_of_trained_ones(run, tmp_path):
    changes = ["finetune.encoder_lr=0.01", "finetune.width=8"]
    free, kept = (
        tuned(run, tmp_path / str(value), *changes, f"finetune.freeze_batch_norm={value}", start="scratch")
        for value in (False, True)
    )
    assert same(weights(free), weights(kept))


def test_encoder_and_head_have_separate_learning_rates(run, tmp_path, monkeypatch):
    seen = {}
    build = Optimization.optimizer

    def spied(self, module, **changes):
        seen[type(module).__name__] = self.settings.lr
        return build(self, module, **changes)

    monkeypatch.setattr(Optimization, "optimizer", spied)
    rates = ["finetune.encoder_lr=0.0002", "finetune.optimizer.lr=0.02"]
    tuned(run, tmp_path / "trained", *rates, start="trained")
    assert seen == {"MLP": 0.0002, "Sequential": 0.02}
    tuned(run, tmp_path / "scratch", *rates, start="scratch")
    assert seen == {"MLP": 0.02, "Sequential": 0.02}, "an encoder from scratch has the learning rate of the head"


def test_the_earliest_of_equal_epochs_is_chosen_and_restored(run, tmp_path, monkeypatch):
    before = [0.0, 0.0]  # whether val and test have a metric at all
    metrics = chain(before, [0.2, 0.5, 0.5, 0.1, 0.5, 0.3], repeat(0.0))
    kept = []

    def on_val(self, *_):
        return {"accuracy": next(metrics)}

    original = EncoderWithHead.outputs

    def answers(self, batch):
        kept.append(self.head[-1].weight.detach().clone())
        return original(self, batch)

    monkeypatch.setattr("sensorium.finetuning.tasks.Classification.measure", on_val)
    monkeypatch.setattr(EncoderWithHead, "outputs", answers)
    done = tuned(run, tmp_path / "out", start="scratch")
    assert dict(done.table.row("from scratch").notes) == {"epoch 2": 1}
    assert torch.equal(done.predictor.finetuned.head[-1].weight, kept[1])


def test_errors_say_what_to_do(run, tmp_path):
    with pytest.raises(SensoriumError, match="There is no test part to report on"):
        tuned(run, tmp_path / "2", "data.test=0", source=toys.vectors())
    with pytest.raises(SensoriumError, match=r"no label 'clas'.*did you mean 'class'"):
        tuned(run, tmp_path / "3", "finetune.labels=[clas]")
    with pytest.raises(SensoriumError, match="encoder of 'a' does not fit the changed recipe"):
        tuned(run, tmp_path / "4", "modalities.a.encoder.dim=5", start="trained")
    with pytest.raises(SensoriumError, match="has no fine-tuned head"):
        sensorium.load_predictor(run, toys.extensions())
    with pytest.raises(SensoriumError, match="exists and is not empty"):
        tuned(run, run)


def test_a_nonfinite_loss_is_an_error(run, tmp_path):
    with pytest.raises(SensoriumError, match="lower finetune"):
        tuned(run, tmp_path / "out", "finetune.optimizer.lr=1e30", "finetune.task=regression", "finetune.labels=[size]")


def test_a_wide_head(run):
    encoder = sensorium.load(run, extensions=toys.extensions()).learner.encoders["a"]
    head = EncoderWithHead(encoder, 3, Finetune(width=7), "auto").head
    assert [tuple(w.shape) for w in head.parameters()] == [(7, 16), (7,), (3, 7), (3,)]
    assert np.prod(EncoderWithHead(encoder, 3, Finetune(), "auto").head[-1].weight.shape) == 48


def test_a_wrong_label_is_told_before_a_record_is_decoded(run, tmp_path, monkeypatch):
    def decode(self, raw):
        raise AssertionError("a record was decoded")

    monkeypatch.setattr(toys.VectorModality, "decode", decode)
    with pytest.raises(SensoriumError, match="no label 'clas', did you mean 'class'"):
        tuned(run, tmp_path, "finetune.labels=[clas]")


def test_several_processes_are_refused(run, tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        SensoriumError, match=r"runs in one process: start it without torchrun, and choose its GPU by --device"
    ):
        sensorium.finetune(run, run_dir=tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_the_head_starts_at_the_linear_probe(run, tmp_path):
    """Before a step is taken, outputs are those of the probe, with standardization or merged into the head."""
    encoder = sensorium.load(run, extensions=toys.extensions()).learner.encoders["a"]
    model = EncoderWithHead(encoder, 3, Finetune(), "auto")
    rng = np.random.default_rng(0)
    probe = LinearProbe(rng.normal(size=(3, 16)), rng.normal(size=3), rng.normal(size=16), rng.uniform(1, 9, 16), "")
    model.start_from(probe)
    pooled = torch.randn(5, 16)
    before = model.eval()._predict(pooled).detach().numpy()
    np.testing.assert_allclose(before, probe.outputs(pooled.numpy()), rtol=1e-4, atol=1e-5)
    model.merge_standardization()
    np.testing.assert_allclose(model.head(pooled).detach().numpy(), before, rtol=1e-4, atol=1e-5)
    wide = EncoderWithHead(encoder, 3, Finetune(width=7), "auto")
    wide.start_from(probe)
    before = wide.eval()._predict(pooled).detach().numpy()
    wide.merge_standardization()
    np.testing.assert_allclose(wide.head(pooled).detach().numpy(), before, rtol=1e-4, atol=1e-5)


def test_fine_tuning_that_does_harm_ends_as_the_linear_probe(run, tmp_path):
    """The probe is epoch 0 of those that are compared: a learning rate that ruins the encoder costs nothing."""
    done = tuned(run, tmp_path / "out", "finetune.encoder_lr=10.0", "finetune.optimizer.lr=10.0", start="trained")
    assert dict(done.table.row("fine-tuned").notes) == {"epoch 0, which is the linear probe": 1}
    scores = [done.table.row(name).metrics["accuracy"].mean for name in ("linear probe", "fine-tuned")]
    assert scores[0] == scores[1]


def test_few_labels_are_drawn_for_each_seed_and_all_rows_learn_from_them(run, tmp_path, caplog):
    with caplog.at_level("INFO", "sensorium"):
        done = tuned(run, tmp_path / "out", "finetune.labels_per_class=6", "finetune.seeds=2", *BRIEF)
    assert done.table.counts == (24, 40)
    assert "in 5 of 5 folds of the labeled records" in done.table.selection
    said = json.loads((tmp_path / "out/run.json").read_text())["notes"]
    assert any("24 of 80 labeled records of the train part are used in each draw" in note for note in said)
    assert any("the val part (40 records) is not used" in note for note in said)
    assert all(note in caplog.text for note in said)
    predictions = pq.read_table(tmp_path / "out/evaluations/finetune-predictions.parquet").to_pydict()
    assert set(predictions["row"]) == {row.name for row in done.table.rows if row.name != "chance"}
    assert len(predictions["id"]) == 5 * 2 * 40, "rows, seeds, records"


def test_others_are_drawn_in_place_of_records_that_cannot_be_read(run, tmp_path):
    class Torn(Marked):
        def __getitem__(self, index):
            record = super().__getitem__(index)
            return replace(record, values=dict.fromkeys(record.values, "torn")) if index % 8 == 0 else record

    changes = ["finetune.labels_per_class=12", "data.max_bad=0.5", "finetune.trees=2"]
    done = tuned(run, tmp_path / "out", *changes, *BRIEF, source=Torn(), start="trained")
    readable = Counter(Torn().key(i).labels["class"] for i in range(160) if i % 4 < 2 and i % 8)
    assert done.table.counts[0] == sum(min(12, count) for count in readable.values())
    said = " / ".join(json.loads((tmp_path / "out/run.json").read_text())["notes"])
    assert ("fewer than labels_per_class" in said) == (min(readable.values()) < 12)


def test_several_amounts_of_labels_are_a_learning_curve(run, tmp_path):
    amounts = ["finetune.labels_per_class=[10,4]", "finetune.label_fraction=[0.02,1]"]
    done = tuned(run, tmp_path / "out", *amounts, *BRIEF, start="trained")
    assert done.curve.metrics == ["4 per class, accuracy", "10 per class, accuracy", "all, accuracy"]
    assert [row.name for row in done.curve.rows] == ["chance", "baseline", "linear probe", "fine-tuned"]
    assert "Labeled records of a draw: 4 per class 16, 10 per class 40, all 80." in done.curve.remarks
    assert done.table.counts == (80, 40), "the predictor learned from the largest amount"
    written = {file.name for file in (tmp_path / "out/evaluations").glob("*.json")}
    assert written == {"learning-curve.json", *(f"finetune-{n}.json" for n in ("4-per-class", "10-per-class", "all"))}
    assert (tmp_path / "out/evaluations/learning-curve.png").stat().st_size > 1000
    said = json.loads((tmp_path / "out/run.json").read_text())["notes"]
    assert any("2 %: left out, there are 2 labeled records" in note for note in said)
    alone = tuned(run, tmp_path / "alone", "finetune.labels_per_class=4", *BRIEF, start="trained")
    metric = alone.table.row("fine-tuned").metrics["accuracy"]
    assert done.curve.row("fine-tuned").metrics["4 per class, accuracy"] == metric, "one amount learns the same alone"


def test_intervals_are_seeded_and_those_of_the_records(run, tmp_path):
    done = tuned(run, tmp_path / "out", *BRIEF, start="trained")
    metric = done.table.row("fine-tuned").metrics["accuracy"]
    predictions = pq.read_table(tmp_path / "out/evaluations/finetune-predictions.parquet").to_pandas()
    right_N = (predictions["label"] == predictions["prediction"])[predictions["row"] == "fine-tuned"].to_numpy()
    low, high = metric.interval
    assert low <= metric.mean == right_N.mean() <= high
    assert high - low == pytest.approx(2 * 1.96 * right_N.std() / len(right_N) ** 0.5, abs=0.06)
    assert done.table.public()["rows"]["fine-tuned"]["metrics"]["accuracy"]["interval"] == [low, high]
    assert f"[{low:.3f}, {high:.3f}]" in done.table.markdown()


def test_the_temperature_is_fitted_on_val_and_divides_what_is_predicted(run, tmp_path):
    raws = [toys.vectors(count=160)[i].values["a"] for i in range(3)]
    done, raw = (
        tuned(run, tmp_path / name, *BRIEF, f"finetune.calibrate={name}", start="trained") for name in ("true", "false")
    )
    assert raw.predictor.temperature == 1
    assert done.predictor.temperature != 1
    assert same(weights(done), weights(raw)), "calibration changes probabilities alone"
    powers = [
        {k: p ** (1 / done.predictor.temperature) for k, p in p_of.items()} for p_of in raw.predictor.predict(raws)
    ]
    for expected, found in zip(powers, done.predictor.predict(raws), strict=True):
        assert found == pytest.approx({k: p / sum(expected.values()) for k, p in expected.items()}, abs=1e-4)
    assert sensorium.load_predictor(tmp_path / "true", toys.extensions()).temperature == done.predictor.temperature
    liar = tuned(run, tmp_path / "liar", *BRIEF, source=Marked(("test",)), start="trained")
    assert liar.predictor.temperature == done.predictor.temperature, "labels of the test part move nothing"
    assert any("expected calibration error" in remark and "on the val part" in remark for remark in done.table.remarks)


def test_weighted_classes_choose_the_epoch_by_balanced_accuracy(run, tmp_path):
    weights = "finetune.task={name: classification, class_weights: balanced}"
    done = tuned(run, tmp_path / "out", weights, *BRIEF, start="trained")
    assert "epoch by balanced accuracy" in done.table.selection
    assert "L2 penalty" in " ".join(done.table.row("linear probe").notes), "the linear probe is weighted too"
    with pytest.raises(SensoriumError, match="names 'x', which is no class of 'class'"):
        tuned(run, tmp_path / "typo", "finetune.task={name: classification, class_weights: {x: 2}}")


def test_records_without_labels_and_several_modalities_are_told(run, tmp_path):
    class Unlabeled(Marked):
        def key(self, index):
            return Record(f"r{index}", {}, {}, self.parts[index])

    for task in ("classification", "multitask"):
        with pytest.raises(SensoriumError, match=r"The records have no labels to fine-tune on: .*data\.source\.labels"):
            tuned(run, tmp_path / task, f"finetune.task={task}", "finetune.labels=null", source=Unlabeled())
    with pytest.raises(SensoriumError, match=r"Name the modality by finetune\.modality=NAME; the run has: a, b\."):
        choose_column("modality", None, ["a", "b"], "finetune.modality")


def test_no_val_part_means_folds(run, tmp_path):
    done = tuned(run, tmp_path / "out", "data.val=0", *BRIEF, source=toys.vectors(count=160), start="trained")
    assert "folds of the labeled records" in done.table.selection


def test_the_choice_in_folds_sees_no_label_of_val_and_test(run, tmp_path):
    few = ["finetune.labels_per_class=6", "finetune.epochs=2"]
    told = [
        tuned(run, tmp_path / "-".join(["x", *lies]), *few, source=Marked(lies), start="trained")
        for lies in ((), ("val", "test"))
    ]
    assert same(*map(weights, told))
    assert told[0].table.row("fine-tuned").notes == told[1].table.row("fine-tuned").notes


def test_labels_that_need_a_word_are_told_before_the_training(run, tmp_path):
    class Odd(Marked):
        def key(self, index):
            key = super().key(index)
            labels = dict(key.labels)
            if key.split == "train" and index % 16 == 0:
                labels["class"] = None
            if key.split == "test" and index % 8 == 3:
                labels["class"] = 77
            return Record(key.id, {}, labels, key.split, key.group)

    done = tuned(run, tmp_path / "out", source=Odd(), start="trained")
    said = " / ".join(json.loads((tmp_path / "out/run.json").read_text())["notes"])
    assert "10 records of 80 in the train part lack the label 'class'" in said
    assert "20 records of the test part have a class that no labeled record of the train part has, '77'" in said
    assert "the epoch is chosen on 40 records of the val part" in said
    assert done.table.counts == (70, 40)


def test_one_class_is_told_before_a_record_is_decoded_and_leaves_no_folder(run, tmp_path):
    class One(Marked):
        def key(self, index):
            key = super().key(index)
            return Record(key.id, {}, {"class": 1}, key.split, key.group)

    with pytest.raises(DataError, match=r"The label 'class' has one class in 80 records to learn from, 1"):
        tuned(run, tmp_path / "out", source=One())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("part", "label", "value", "changes", "why"),
    [
        ("val", "class", None, [], "no accuracy of the val part, by which the epoch is chosen .data.val=0"),
        ("test", "class", None, [], "no accuracy of the test part"),
        ("test", "even", 0, ["finetune.task=multitask", "finetune.labels=[even]"], "no ROC-AUC of the test part"),
        ("val", "even", 0, ["finetune.task=multitask", "finetune.labels=[even]"], "no ROC-AUC of the val part"),
        ("test", "size", 1.5, ["finetune.task=regression", "finetune.labels=[size]"], "no RMSE ↓ of the test part"),
    ],
)
def test_labels_that_give_no_metric_are_told_before_the_training(
    run, tmp_path, monkeypatch, part, label, value, changes, why
):
    class Bare(Marked):
        def key(self, index):
            key = super().key(index)
            labels = {**key.labels, **({label: value} if key.split == part else {})}
            return Record(key.id, {}, labels, key.split, key.group)

    monkeypatch.setattr("sensorium.finetuning.tuning.train_epochs", None)  # nothing is trained
    with pytest.raises(DataError, match=f"There is {why}"):
        tuned(run, tmp_path / "out", *changes, source=Bare())


def test_a_wrong_label_has_the_code_of_data(run, tmp_path):
    with pytest.raises(DataError, match="no label 'clas'"):
        tuned(run, tmp_path / "out", "finetune.labels=[clas]")
    assert not (tmp_path / "out").exists()


def test_an_interrupt_keeps_the_rows_that_are_done(run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sensorium.finetuning.tuning.Tuning.by_val_part", interrupted)
    with pytest.raises(Interrupted, match=r"the rows chance, baseline, linear probe are in .*finetune\.md") as stop:
        tuned(run, tmp_path / "out", start="trained")
    assert stop.value.code == 130
    assert json.loads((tmp_path / "out/run.json").read_text())["state"] == "interrupted"
    assert "linear probe" in (tmp_path / "out/evaluations/finetune.md").read_text()
