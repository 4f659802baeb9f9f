"""The built-in objectives and sample sets, each a plugin like any other."""

if __name__ != "sensorium.plugins":
    raise ImportError(f"This package is imported as 'sensorium.plugins', not as '{__name__}'.")
