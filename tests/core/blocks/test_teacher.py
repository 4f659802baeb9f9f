"""Tests of `sensorium.blocks.teacher`."""

import torch
from timm.layers import DropPath
from torch import nn

from sensorium import Encoder, Encoders, Features, Teacher


class Noisy(Encoder):
    """Every kind of noise, and a batch norm."""

    dim = 8

    def __init__(self):
        super().__init__()
        self.norm, self.dropout, self.path = nn.BatchNorm1d(8), nn.Dropout(0.5), DropPath(0.5)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)

    def forward(self, batch):
        x_BD = self.path(self.dropout(self.norm(batch)))
        if self.training:  # a mask that is no module
            x_BD = x_BD * (torch.rand(len(x_BD), 1) < 0.5)
        return Features(x_BD + self.attention(x_BD[:, None], x_BD[:, None], x_BD[:, None])[0][:, 0])


class Pair(nn.Module):
    """A student and its teacher, as an objective has them."""

    def __init__(self):
        super().__init__()
        self.student = Noisy()
        self.head = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
        self.teacher = Teacher(Encoders({"a": self.student}), head=self.head)

    def targets(self, x_BD):
        with torch.no_grad():
            return self.teacher.heads["head"](self.teacher.encoders["a"](x_BD).pooled)


def test_targets_have_no_noise_while_the_student_trains():
    pair, x_BD = Pair().train(), torch.randn(64, 8)
    assert not torch.equal(pair.student(x_BD).pooled, pair.student(x_BD).pooled), "the student has noise"
    assert torch.equal(pair.targets(x_BD), pair.targets(x_BD))
    pair.eval().train()
    assert torch.equal(pair.targets(x_BD), pair.targets(x_BD)), "and so it is after an evaluation"


def test_batch_norms_of_a_teacher_follow_the_training_mode():
    pair, x_BD = Pair(), 3 + torch.randn(6, 8)
    norm = pair.teacher.encoders["a"].norm
    assert norm.training, "as they are made"
    pair.targets(x_BD)
    torch.testing.assert_close(norm.running_mean, 0.1 * x_BD.mean(0))
    assert not pair.eval().teacher.encoders["a"].norm.training
    before = norm.running_mean.clone()
    pair.targets(x_BD)
    assert torch.equal(norm.running_mean, before)
    assert pair.train().teacher.training
    assert norm.training
    assert not pair.teacher.encoders["a"].dropout.training
