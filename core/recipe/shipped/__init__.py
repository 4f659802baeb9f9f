"""The recipes that come with sensorium, one YAML file each."""
