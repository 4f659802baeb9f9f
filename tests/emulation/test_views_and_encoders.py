"""Every view generator and every encoder on the emulated device: no error, and nothing that the host waits for."""

import pytest
import torch

from sensorium.registration.options import options_of
from sensorium.seeding import generator, seed_globals
from sensorium.testing.emulation import Emulation, emulated_device, table
from sensorium.testing.equality import same
from tests.emulation.encoding import encoded_on_device
from tests.golden.pairs import fitted, registry, small

MODALITIES = ("audio", "image", "text", "timeseries")
CHANGED = {
    ("encoders", "conv"): {"parts": 2},
    ("encoders", "dilated"): {"pool": "last"},
    ("encoders", "spectrogram-transformer"): {"drop_path": 0.2},
    ("views", "simclr"): {"blur": 0.5, "solarize": 0.3},
    ("views", "augment"): {
        "segments": 4,
        "frequency_mask": 0.3,
        "channel_dropout": 0.3,
        "mask_ratio": 0.3,
        "mixup": 0.3,
    },
    ("views", "spectrogram"): {"noise": (5.0, 30.0), "equalizer": 0.3, "freq_mask": 0.2, "time_mask": 0.2},
    ("views", "waveform"): {"shift": 0.5, "noise": (5.0, 30.0)},
}
"""Options with which a part does all that it can do, beside its defaults."""


def parts(kind, modalities=MODALITIES):
    """Return the name of a modality, of each of its parts and whether its options are those of `CHANGED`."""
    found = []
    for spec in registry().specs(kind):
        if spec.modality not in modalities or spec.missing_packages():
            continue
        if any(option.required for option in options_of(spec.load(), skip=1)):
            continue
        if not small(spec.load(), skip=1) and kind == "encoders":
            continue  # an architecture of another library, of the size that it has
        found += [(spec.modality, spec.name, False)]
        found += [(spec.modality, spec.name, True)] if (kind, spec.name) in CHANGED else []
    return found


def made(kind, modality, name, changed):
    """Return a part as the golden files have it, small."""
    (spec,) = (spec for spec in registry().specs(kind) if (spec.modality, spec.name) == (modality, name))
    seed_globals("emulation", kind, modality, name)
    options = small(spec.load(), skip=1) if kind == "encoders" else {}
    return spec.load()(fitted(modality)[0], **options, **(CHANGED[kind, name] if changed else {}))


@pytest.mark.parametrize(("modality", "name", "changed"), parts("views"))
def test_views_make_the_host_wait_for_nothing_and_are_those_of_the_cpu(modality, name, changed):
    views, batch = made("views", modality, name, changed), fitted(modality)[1]
    with Emulation() as emulation:
        there = batch.pin_memory().to(emulated_device(), non_blocking=True)
        views(there, generator("first", device=emulated_device()))  # copies its constants
        emulation.synchronizations.clear()
        found = views(there, generator("views", device=emulated_device()))
        assert not emulation.synchronizations, "\n" + table(emulation.synchronizations)
        if modality == "image":  # draws on the host: from the same generator, rather than one that is seeded from it
            found = views(there, generator("views"))
        for view, expected in zip(found, views(batch, generator("views")), strict=True):
            assert view.batch.device == emulated_device()
            if name != "overlapping-crops":  # whose draws, which decide shapes, come from a generator of the host
                assert (view.target is None) == (expected.target is None)
                for one, other in zip(valid(view.batch), valid(expected.batch), strict=True):
                    if modality == "image":  # whose operations compute all images there, and only some here
                        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
                    else:
                        assert same(one, other)


def valid(batch):
    """Return the examples of a batch without padding: on a device it may have more of that."""
    batch = batch.to("cpu")
    if hasattr(batch, "pixels"):
        return batch.pixels
    if hasattr(batch, "unpad"):
        return batch.unpad()
    return [ids[mask] for ids, mask in zip(batch.ids, batch.mask, strict=True)]


@pytest.mark.parametrize(("modality", "name", "changed"), parts("encoders"))
def test_encoders_make_the_host_wait_for_nothing_and_pool_in_fp32(modality, name, changed):
    encoder, batch = made("encoders", modality, name, changed).train(), fitted(modality)[1]
    features, waits = encoded_on_device(encoder, batch)
    assert not waits, "\n" + table(waits)
    assert features.pooled.dtype == torch.float32
