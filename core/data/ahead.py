"""Delivery to the device: the next step's records are copied while this one computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sensorium.types import RecordBatch


def deliver_ahead(steps: Iterable[list[RecordBatch]], device: torch.device) -> Iterator[list[RecordBatch]]:
    """Yield the records of every step on the device.

    On CUDA those of the next step are copied meanwhile, on a stream of their own, from page-locked memory.
    """
    if device.type != "cuda":
        for parts in steps:
            yield [records.to(device, non_blocking=True) for records in parts]
        return
    stream = torch.cuda.Stream(device)
    ahead: tuple[list[RecordBatch], torch.cuda.Event] | None = None
    for parts in steps:
        with torch.cuda.stream(stream):
            copied = [records.to(device, non_blocking=True) for records in parts], stream.record_event()
        if ahead is not None:
            yield _handed_over(*ahead, device)
        ahead = copied
    if ahead is not None:
        yield _handed_over(*ahead, device)


def _handed_over(parts: list[RecordBatch], copied: torch.cuda.Event, device: torch.device) -> list[RecordBatch]:
    """Let the computing stream wait for copies, and their memory for the computing stream."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(copied)
    for records in parts:
        ranked = [*records.negatives.values(), *records.further.values()]
        batches = [*records.batches.values(), *(batch for ranks in ranked for batch, _ in ranks)]
        keys = dict(records.keys.items())
        for tensor in tree_leaves((batches, keys, records.descriptors)):
            if isinstance(tensor, Tensor) and tensor.device == device:
                tensor.record_stream(computing)
    return parts
