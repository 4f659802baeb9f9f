"""The commands of the `sensorium` program, registered through the same door as those of any plugin.

One file holds one command and is imported when that command is called; help is listed from the summaries here.
"""

from sensorium import hookimpl


@hookimpl
def sensorium_register_commands(register):
    """Register the commands."""
    register("train", "sensorium.cli.train:train", summary="Train what a recipe describes.")
    register("evaluate", "sensorium.cli.evaluate:evaluate", summary="Measure a run on labeled or paired records.")
    register("matrix", "sensorium.cli.matrix:matrix", summary="Try every objective on every kind of data.")
    register("finetune", "sensorium.cli.finetune:finetune", summary="Train a run's encoder and a head on labels.")
    register("embed", "sensorium.cli.embed:embed", summary="Write the features of records to a file.")
    register("replay", "sensorium.cli.replay:replay", summary="Show where a step without a finite loss went wrong.")
    register("search", "sensorium.cli.search:search", summary="Find the records nearest to a text or a file.")
    register("compare", "sensorium.cli.compare:compare", summary="Show the figures of runs side by side.")
    register("mine", "sensorium.cli.mine:mine", summary="Find hard negatives with a run's model.")
    register("export", "sensorium.cli.export:export", summary="Write what a run learned as files that others read.")
    register("recipes", "sensorium.cli.recipes:recipes", summary="List the recipes, or print one whole.")
    register("list", "sensorium.cli.list:list_kind", summary="List what is registered, or the options of one thing.")
    register("plugins", "sensorium.cli.plugins:plugins", summary="List the plugins and their states.")
    register("plugin", "sensorium.cli.plugin:app", summary="Start a new plugin, or check one.")
