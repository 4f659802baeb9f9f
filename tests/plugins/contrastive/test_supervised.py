import pytest
import torch

from sensorium import losses
from sensorium.types import Record, record_keys
from tests.plugins.joint_embedding import learner_of, views_of

RECORDS = [Record(str(i), {}, {"kind": None if i == 11 else i % 3}, group=f"g{i // 4}") for i in range(12)]


def given():
    views = views_of("simclr")
    for view in views["a"]:
        view.keys = record_keys(RECORDS)
    return views


def rows(model, views):
    return torch.cat([model.objective.project(model.encoders["a"](v.batch).pooled) for v in views["a"]])


@pytest.mark.parametrize(
    ("option", "labels"), [("kind", [*(i % 3 for i in range(11)), 9]), ("group", [i // 4 for i in range(12)])]
)
def test_records_of_one_label_are_positives(option, labels):
    model, views = learner_of("supervised-contrastive", label=option).eval(), given()
    expected = losses.supervised_contrastive(rows(model, views), torch.tensor(labels).repeat(2), 0.2)
    assert torch.allclose(model(views).loss, expected, rtol=1e-6)


def test_without_the_label_it_is_simclr_and_says_so():
    model, views = learner_of("supervised-contrastive", label="species").eval(), given()
    z1, z2 = rows(model, views).chunk(2)
    outcome = model(views)
    assert torch.allclose(outcome.loss, losses.nt_xent(z1, z2, 0.2), rtol=1e-5)
    assert outcome.logs["labeled"] == 0
    assert learner_of("supervised-contrastive", label="kind").eval()(views).logs["labeled"] == 11 / 12
