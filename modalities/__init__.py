"""The built-in modalities: how raw values become examples, batches, views and features."""

if __name__ != "sensorium.modalities":
    raise ImportError(f"This package is imported as 'sensorium.modalities', not as '{__name__}'.")
