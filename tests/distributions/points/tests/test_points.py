"""What sets ask for: no order, no padding, unequal sizes."""

import torch
from sensorium_points.encoders import GroupTransformer, PointNet
from sensorium_points.modality import Points
from sensorium_points.source import DigitClouds, Solids
from sensorium_points.views import Augment, Rotation


def clouds(count=6):
    modality, source = Points(), Solids(points=48)
    return modality, [modality.decode(source[index].values["points"]) for index in range(count)]


def test_features_do_not_depend_on_the_order_of_points_or_on_padding():
    modality, examples = clouds()
    for encoder in (PointNet(modality).eval(), GroupTransformer(modality).eval()):
        whole = encoder(modality.collate(examples)).pooled
        for row, example in enumerate(examples):
            alone = encoder(modality.collate([example[torch.randperm(len(example))]])).pooled[0]
            torch.testing.assert_close(alone, whole[row], rtol=1e-4, atol=1e-5)


def test_groups_are_the_nearest_points_of_centers_far_apart():
    modality, examples = clouds(1)
    center_BGS, points_BGPC, valid_BG = GroupTransformer(modality, groups=8, points=3).grouped(
        modality.collate(examples)
    )
    assert valid_BG.all()
    assert len({tuple(center) for center in center_BGS[0].tolist()}) == 8
    assert (points_BGPC[0, :, 0].abs().max() < 1e-6).item()  # a center is its own nearest point
    distance = points_BGPC[0].norm(dim=-1)
    assert (distance[:, 1:] >= distance[:, :-1]).all()


def test_a_cloud_of_one_point_is_a_cloud():
    modality = Points()
    batch = modality.collate([modality.decode([[3.0, 4.0, 5.0]]), clouds(1)[1][0]])
    assert batch.xyz[0].abs().sum() == 0
    for view in Augment(modality, drop=0.9)(batch, torch.Generator().manual_seed(0)):
        assert view.batch.mask.any(1).all()
    assert GroupTransformer(modality)(batch).pooled.isfinite().all()


def test_a_quarter_turn_is_the_target():
    modality = Points(space=2)
    batch = modality.collate([modality.decode([[1.0, 0.0], [-1.0, 0.0]])] * 64)
    (view,) = Rotation(modality)(batch, torch.Generator().manual_seed(0))
    for turns, first in zip(view.target.tolist(), view.batch.xyz[:, 0], strict=True):
        expected = [(1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 1.0)][turns]
        torch.testing.assert_close(first, torch.tensor(expected), atol=1e-6, rtol=0)


def test_digits_are_their_inked_pixels():
    source = DigitClouds()
    record = source[3]
    assert len(source) == 1797
    assert record.values["points"].shape[1] == 3
    assert (record.labels["class"], record.values["text"]) == ("3", "three")
