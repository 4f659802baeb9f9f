"""Out of memory: the sentence names which memory, and what of the recipe would save some."""

import pytest
import torch

import sensorium
from sensorium.errors import TrainingError
from sensorium.recipe import read_recipe
from sensorium.training import loop
from sensorium.training.memory import out_of_memory
from tests import toys

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 3 GiB is free. "
    "Of the allocated memory 70 GiB is allocated by PyTorch. If reserved but unallocated memory is large try setting X."
)


def recipe(**train):
    return read_recipe(toys.recipe(train={"epochs": 1, "accelerator": "cpu", **train}), toys.extensions().registry)


def test_what_the_recipe_does_not_do_yet_is_advised():
    error = torch.OutOfMemoryError(CUDA)
    said = str(out_of_memory(error, recipe()))
    assert said.startswith("The memory of the device ran out (CUDA out of memory. Tried to allocate 20.00 GiB.")
    assert "try setting X" not in said
    assert "train.gradient_checkpointing=true" in said
    assert "train.accumulate=2 train.gradient_cache=true" in said
    assert "data.batch lower than 16" in said
    done = recipe(gradient_checkpointing=True, accumulate=2, gradient_cache=True)
    assert str(out_of_memory(error, done)).endswith("is allocated by PyTorch): set data.batch lower than 16.")


def test_other_errors_are_none():
    assert out_of_memory(RuntimeError("shapes differ"), recipe()) is None


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**60, dtype=torch.uint8), lambda: bytearray(2**60)])
def test_a_training_on_a_host_without_memory_ends_with_the_sentence(allocate, monkeypatch, tmp_path):
    """A real refusal of the allocator: more than any machine has."""
    monkeypatch.setattr(loop, "take_step", lambda *_: allocate())
    with pytest.raises(TrainingError, match=r"The memory of the host ran out.*data\.batch lower than"):
        sensorium.fit(
            toys.recipe(train={"epochs": 1, "accelerator": "cpu"}),
            source=toys.vectors(),
            run_dir=tmp_path / "run",
            extensions=toys.extensions(),
        )
