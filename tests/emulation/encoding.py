"""An encoder on the emulated device."""

import torch

from sensorium.testing.emulation import Emulation, emulated_device


def encoded_on_device(encoder, batch):
    """Return the features of a batch under autocast, after a backward pass, and what made the host wait.

    The encoder is called twice: the first call copies its constants to the device.
    """
    with Emulation() as emulation:
        encoder.to(emulated_device())
        there = batch.pin_memory().to(emulated_device(), non_blocking=True)
        with torch.autocast(emulated_device().type, torch.bfloat16):
            encoder(there)
            emulation.synchronizations.clear()
            features = encoder(there)
        outputs = [features.pooled] if features.tokens is None else [features.pooled, features.tokens]
        torch.autograd.backward([x.float().square().sum() for x in outputs])
        assert all(p.grad.dtype == torch.float32 for p in encoder.parameters() if p.grad is not None)
    return features, emulation.synchronizations
