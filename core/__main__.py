"""`python -m sensorium`."""

from sensorium.cli.main import main

main()
