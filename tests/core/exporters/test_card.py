"""A model card says what a run is, in the format that the hub reads."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from sensorium.exporters.card import model_card
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.runs.run import Run

REGISTRY = load_extensions().registry


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    run.keep_recipe(read_recipe("image-text", REGISTRY))
    parts = {"train": {"count": 3_000, "hash": "0123456789abcdef"}, "test": {"count": 500, "hash": "f" * 32}}
    run.update(state="finished", step=120, steps=120, records=parts, versions={"torch": "2.14.1"})
    return run


def evaluated(run):
    def row(*scores):
        return {"metrics": {"accuracy": {"mean": sum(scores) / len(scores), "scores": [[s] for s in scores]}}}

    rows = {"chance": row(0.1), "baseline": row(0.4), "untrained": row(0.5), "trained": row(0.7, 0.8)}
    table = {"evaluator": "knn", "protocol": "the given split", "selection": "nothing is selected", "split": "12ab"}
    run.evaluations.mkdir()
    (run.evaluations / "knn.json").write_text(json.dumps(table | {"train": 3_000, "test": 500, "rows": rows}))
    (run.evaluations / "other.json").write_text("[]")  # what is no table is passed over
    return run


def test_the_hub_reads_its_metadata_and_metrics(run):
    text = model_card(evaluated(run), REGISTRY, library="timm")
    card = ModelCard(text)
    assert card.data.library_name == "timm"
    assert {"self-supervised-learning", "image", "text", "clip"} <= set(card.data.tags)
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("openmoji", "accuracy", 0.75)


def test_it_names_data_with_license_and_attribution_metrics_beside_their_baselines_and_what_loads_it(run):
    text = model_card(evaluated(run), REGISTRY, loading="model = load()", checks=["It takes pixels."])
    assert "3,000 train (hash 0123456789ab), 500 test" in text
    assert "CC BY-SA 4.0" in text
    assert "All emojis designed by OpenMoji" in text
    for line in ("| baseline features | 0.400 |", "| the untrained encoder | 0.500 |", "| trained | 0.750 ± 0.071 |"):
        assert line in text
    assert "```python\nmodel = load()\n```" in text
    assert "- It takes pixels." in text
    recipe = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert recipe["objective"]["name"] == "clip"


def test_a_run_that_is_not_finished_or_not_evaluated_says_so(run):
    run.update(state="interrupted", step=60)
    text = model_card(run, REGISTRY)
    assert "**The training is not finished: its state is 'interrupted' after step 60.**" in text
    assert "The run has not been evaluated." in text
    assert "model-index" not in text


def test_data_of_its_user_have_a_license_that_only_the_user_knows(run):
    run.keep_recipe(read_recipe("image-text", REGISTRY, ["data.source={name: folder, path: photographs}"]))
    assert "not known to the program; state it here" in model_card(run, REGISTRY)
