"""What this machine is, how fast it is for a recipe, and what to change: `sensorium doctor`."""
