"""The commands of the `sensorium` program, registered by the same hook as those of any plugin.

One file holds one command and is imported when that command is called; help is listed from the summaries here.
"""

from sensorium import hookimpl


@hookimpl
def sensorium_register_commands(register):
    """Register the commands."""
    register("train", "sensorium.cli.train:train", summary="Train a model as a recipe says.")
    register("submit", "sensorium.cli.submit:submit", summary="Train on a SLURM cluster, over any number of starts.")
    register("check", "sensorium.cli.check:check", summary="Read every record without training, and report on them.")
    register("pack", "sensorium.cli.pack:pack", summary="Write the records of any source to shards that are read fast.")
    register("doctor", "sensorium.cli.doctor:doctor", summary="Inspect this machine, and the speed of a recipe on it.")
    register("evaluate", "sensorium.cli.evaluate:evaluate", summary="Evaluate a run on labeled or paired records.")
    register("crossfit", "sensorium.cli.crossfit:crossfit", summary="Train and evaluate once for each group left out.")
    register("matrix", "sensorium.cli.matrix:matrix", summary="Train every objective on every modality, briefly.")
    register("finetune", "sensorium.cli.finetune:finetune", summary="Fine-tune a run's encoder on labels.")
    register("predict", "sensorium.cli.predict:predict", summary="Predict the labels of records with a fine-tuned run.")
    register("embed", "sensorium.cli.embed:embed", summary="Write the embeddings of records to a file.")
    register("index", "sensorium.cli.index:index", summary="Put records into an index, or bring it up to date.")
    register("replay", "sensorium.cli.replay:replay", summary="Find the source of a non-finite loss.")
    register("search", "sensorium.cli.search:search", summary="Find the nearest records to a text or a file.")
    register("browse", "sensorium.cli.browse:browse", summary="Search the records of a run on a local page.")
    register("report", "sensorium.cli.report:report", summary="Write a page of a run: one HTML file.")
    register("compare", "sensorium.cli.compare:compare", summary="Compare the metrics of runs.")
    register("mine", "sensorium.cli.mine:mine", summary="Mine hard negatives with a run's model.")
    register("curate", "sensorium.cli.curate:app", summary="Find near-duplicates, outliers, clusters and samples.")
    register("export", "sensorium.cli.export:export", summary="Export a run's model to other libraries.")
    register("recipes", "sensorium.cli.recipes:recipes", summary="List the recipes, or print one.")
    register("list", "sensorium.cli.list:list_kind", summary="List what is registered, or the options of one part.")
    register("plugins", "sensorium.cli.plugins:plugins", summary="List the plugins and their states.")
    register("plugin", "sensorium.cli.plugin:app", summary="Create a new plugin, or check one.")
