import json

from sensorium.recipe import Recipe
from sensorium.runs.run import Run
from sensorium.training.metrics import MetricsLog
from sensorium.training.progress import Meter
from tests import toys


def recipe(**log):
    return Recipe.model_validate(toys.recipe(log=log))


def test_a_resumed_run_drops_what_it_will_write_again(tmp_path):
    run = Run(tmp_path)
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (10, 20, 30)]
    run.metrics_file.write_text("\n".join(lines) + '\n{"step": 40, "lo')
    metrics = MetricsLog(run, recipe(tensorboard=False), step=20)
    metrics.write(30, {"loss": 0.5})
    metrics.close()
    found = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert [(entry["step"], entry["loss"]) for entry in found] == [(10, 1.0), (20, 1.0), (30, 0.5)]


def test_tensorboard_gets_the_same_figures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path)
    metrics = MetricsLog(run, recipe(tensorboard=True), step=0)
    metrics.write(1, {"loss": 2.0})
    metrics.write(2, {"loss": 1.5})
    metrics.close()
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.0), (2, 1.5)]


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
