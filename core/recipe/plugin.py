"""Registers the shipped recipes: every YAML file of `shipped/`, its first comment line as the summary."""

from importlib.resources import files

from sensorium import hookimpl


@hookimpl
def sensorium_register_recipes(register):
    """Register the shipped recipes."""
    folder = files("sensorium.recipe") / "shipped"
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            first = entry.read_text(encoding="utf-8").partition("\n")[0]
            register(
                entry.name.removesuffix(".yaml"),
                f"sensorium.recipe.shipped:{entry.name}",
                summary=first.lstrip("# "),
            )
