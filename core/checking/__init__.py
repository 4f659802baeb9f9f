"""Reading every record of a source without training, and what was found: `sensorium check`."""
