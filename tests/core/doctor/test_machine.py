"""Facts about a machine, under conditions that this one does not have."""

from pathlib import Path

import torch

from sensorium.doctor import machine as of_machine
from sensorium.doctor.machine import inspect_machine, missing_extras
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import Spec


def test_missing_extras_are_grouped_by_what_installs_them():
    def spec(kind, name, requires, extra=None):
        return Spec(kind, name, "x:y", "made", "p", "sensorium", requires=requires, extra=extra)

    found = missing_extras(
        [
            spec("encoders", "one", ("no_such_a",), "audio"),
            spec("sources", "two", ("no_such_b", "torch"), "audio"),
            spec("objectives", "three", ("no_such_c",)),
            spec("objectives", "four", ("torch",), "audio"),
        ]
    )
    assert [(m.install, m.packages, m.parts) for m in found] == [
        ("sensorium[audio]", ["no_such_a", "no_such_b"], ["encoder one", "source two"]),
        ("no_such_c", ["no_such_c"], ["objective three"]),
    ]


def test_a_machine_without_shared_memory_or_devices(monkeypatch, tmp_path):
    monkeypatch.setattr(of_machine, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    (tmp_path / "version").touch()
    monkeypatch.setattr(of_machine, "NVIDIA", tmp_path / "version")
    found = inspect_machine(load_extensions({}, []), tmp_path / "runs" / "not-there-yet")
    assert found.shared_memory is None
    assert (found.devices, found.accelerator, found.precision) == ([], "cpu", "32-true")
    assert found.has_unused_driver
    assert {"python", "torch", "lightning-fabric", "sensorium"} <= set(found.versions)
    assert found.disk.total > found.disk.free > 0
    assert found.cores >= 1


def test_cuda_devices_are_listed_with_their_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (70, 80))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    found = inspect_machine(load_extensions({}, []), Path())
    assert [(d.kind, d.name, d.memory, d.has_bf16) for d in found.devices] == [
        ("cuda", "GPU 0", (80, 70), True),
        ("cuda", "GPU 1", (80, 70), True),
    ]
    assert (found.accelerator, found.precision, found.has_unused_driver) == ("cuda", "bf16-mixed", False)


def test_a_plugin_that_failed_is_told(site):
    site.install("acme", "acme", "raise RuntimeError('no luck')")
    assert "no luck" in inspect_machine(load_extensions({}, site.found())).broken[0]
