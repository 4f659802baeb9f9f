import json

import pytest

from sensorium import Logger
from sensorium.errors import PluginError
from sensorium.runs.run import Run
from sensorium.training.metrics import MetricsLog
from sensorium.training.progress import Meter


class Kept(Logger):
    """Keeps what it is given; fails at a step."""

    def __init__(self, fails_at=None):
        self.fails_at, self.seen = fails_at, []

    def start(self, folder, recipe, step):
        if self.fails_at == 0:
            raise ConnectionError("no server at host:5000")
        self.seen.append(("start", folder.name, recipe, step))

    def log(self, step, metrics):
        if step == self.fails_at:
            raise ConnectionError("the server is gone")
        self.seen.append((step, dict(metrics)))

    def log_file(self, path):
        self.seen.append(path.name)

    def close(self, ending):
        self.seen.append(ending)


def test_a_resumed_run_drops_what_it_will_write_again(tmp_path):
    run = Run(tmp_path)
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (10, 20, 30)]
    run.metrics_file.write_text("\n".join(lines) + '\n{"step": 40, "lo')
    metrics = MetricsLog(run, step=20)
    metrics.write(30, {"loss": 0.5})
    metrics.close("finished")
    found = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert [(entry["step"], entry["loss"]) for entry in found] == [(10, 1.0), (20, 1.0), (30, 0.5)]


def test_a_logger_is_told_everything_from_start_to_end(tmp_path):
    kept = Kept()
    metrics = MetricsLog(Run(tmp_path), {"kept": lambda: kept}, {"name": "x"}, 20)
    metrics.write(30, {"loss": 0.5})
    metrics.log(30, {"test/knn/accuracy": 0.9})
    metrics.log_file(tmp_path / "knn.md")
    metrics.close("interrupted")
    begun = ("start", tmp_path.name, {"name": "x"}, 20)
    assert kept.seen == [begun, (30, {"loss": 0.5}), (30, {"test/knn/accuracy": 0.9}), "knn.md", "interrupted"]


def test_a_logger_that_fails_is_named_once_and_the_record_of_the_run_is_whole(tmp_path, caplog):
    failing, other = Kept(fails_at=2), Kept()
    metrics = MetricsLog(Run(tmp_path), {"mine": lambda: failing, "other": lambda: other})
    for step in (1, 2, 3):
        metrics.write(step, {"loss": 1.0})
    metrics.close("finished")
    assert [record.getMessage() for record in caplog.records] == [
        "The logger 'mine' failed at step 2 and gets no more metrics: ConnectionError: the server is gone. "
        f"All are in {tmp_path / 'metrics.jsonl'}."
    ]
    assert [seen[0] for seen in other.seen[:-1]] == ["start", 1, 2, 3]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_logger_that_cannot_begin_is_an_error(tmp_path):
    with pytest.raises(
        PluginError, match=r"^The logger 'mine' cannot begin: ConnectionError: no server at host:5000\."
    ):
        MetricsLog(Run(tmp_path), {"mine": lambda: Kept(fails_at=0)})


def test_the_meter_tells_waiting_from_work():
    import time

    def slow():
        for i in range(5):
            time.sleep(0.02)
            yield i

    meter = Meter(batch=8)
    for _ in meter.waiting(slow()):
        time.sleep(0.02)
    metrics = meter.read()
    assert 0.2 < metrics["data_wait"] < 0.8
    assert 0 < metrics["records_per_second"] < 8 / 0.04 * 1.05  # a busy machine is slower, never faster
    assert meter.read()["records_per_second"] == 0
