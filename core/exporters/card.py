"""The model card of a run: what it is, what it learned from, how good it is, in the format of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sensorium.errors import SensoriumError
from sensorium.evaluation.tables import TRAINED, Metric, markdown_table
from sensorium.recipe import Recipe, read_recipe
from sensorium.recipe.reading import to_yaml
from sensorium.registration.registry import Registry
from sensorium.runs.run import Run

CARD = "README.md"
"""The file name that the hub shows."""
ROWS = {
    "chance": "chance",
    "baseline": "baseline features",
    "untrained": "the untrained encoder",
    "as it came": "the weights that it started from",
}
"""Rows of tables to compare with, in words."""


def model_card(
    run: Run, registry: Registry, *, library: str = "sensorium", loading: str = "", checks: Sequence[str] = ()
) -> str:
    """Return the model card of a run, finished or not, as Markdown behind a YAML front matter.

    Args:
        run: the run folder.
        registry: what is registered; it says what is known of the licenses of data.
        library: the library that loads the files which the card lies beside, as the hub names it.
        loading: the lines of Python that load them.
        checks: sentences on what these files take, and how they were verified.
    """
    recipe = read_recipe(run.recipe_file, registry)
    tables = list(_tables(run))
    parts = [
        f"# {recipe.name}",
        _summary(run, recipe),
        _section("How to load", [f"```python\n{loading}\n```"] if loading else []),
        _section("Checked", [f"- {sentence}" for sentence in checks]),
        _section("Data", _data(run, recipe, registry)),
        _section("Metrics", [_table(name, table) for name, table in tables] or ["The run has not been evaluated."]),
        _section("Intended use", _intended(recipe)),
        _section("Limits", _limits(run, recipe, bool(tables))),
        _section("Recipe", [f"```yaml\n{to_yaml(recipe)}```"]),
        _section("Versions", [", ".join(f"{name} {v}" for name, v in run.status().get("versions", {}).items())]),
    ]
    front = yaml.safe_dump(_front_matter(recipe, library, tables), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    """Return a section; nothing where it has no lines."""
    between = "\n" if all(line.startswith("- ") for line in lines) else "\n\n"
    return f"## {title}\n\n{between.join(lines)}" if any(lines) else ""


def _front_matter(recipe: Recipe, library: str, tables: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what the hub indexes: tags, library, and the metrics of the trained encoder."""
    modalities = {recipe.tower(name).modality for name in recipe.modalities}
    kinds = sorted({str(kind) for kind in modalities if kind is not None})
    objectives = [str(part) for part in recipe.objectives().values()]
    hub = [t.weights.removeprefix("hub:") for t in recipe.modalities.values() if (t.weights or "").startswith("hub:")]
    source = str(recipe.data.source or "arrays")
    results = [
        {
            "task": {"type": "feature-extraction", "name": f"{table['evaluator']} on frozen features"},
            "dataset": {"type": source, "name": source, "split": "test"},
            "metrics": [
                {"type": name.replace(" ", "_"), "name": name, "value": round(values["mean"], 6)}
                for name, values in table["rows"][TRAINED]["metrics"].items()
            ],
        }
        for _, table in tables
        if table["rows"].get(TRAINED, {}).get("metrics")
    ]
    front: dict[str, Any] = {
        "license": "unknown",
        "library_name": library,
        "pipeline_tag": "feature-extraction",
        "tags": ["self-supervised-learning", "sensorium", *kinds, *dict.fromkeys(objectives)],
    }
    if hub:
        front["base_model"] = hub
    if results:
        front["model-index"] = [{"name": recipe.name, "results": results}]
    return front


def _summary(run: Run, recipe: Recipe) -> str:
    """Return what the model is, in a paragraph."""
    towers = [
        f"{name} ({tower.encoder})" if recipe.sharing[name] == name else f"{name} (with the encoder of {owner})"
        for name, owner in recipe.sharing.items()
        for tower in (recipe.tower(name),)
    ]
    plural = "s" * (len(towers) > 1)
    status = run.status()
    length = f"{status['steps']:,} steps of " if "steps" in status else ""
    said = (
        f"Encoder{plural} of {', '.join(towers)}, trained by self-supervised learning with the objective "
        f"{recipe.objective_in_words}: {length}{recipe.data.batch} records, seed {recipe.seed}."
    )
    if status.get("state") != "finished":
        step = f" after step {status['step']:,}" if "step" in status else ""
        said += f" **The training is not finished: its state is '{status.get('state', 'unknown')}'{step}.**"
    return said


def _data(run: Run, recipe: Recipe, registry: Registry) -> list[str]:
    """Return the source of the records, how many there are, and whose they are."""
    source = recipe.data.source
    named = "objects that were handed in from Python" if source is None else f"the source `{source}`"
    lines = [f"- Records: {named}" + (f", {_options(source.options)}." if source and source.options else ".")]
    parts = run.status().get("records", {})
    if parts:
        counts = ", ".join(f"{part['count']:,} {name} (hash {part['hash'][:12]})" for name, part in parts.items())
        lines.append(f"- Split: {counts}.")
    if run.unreadable_file.exists():
        count = max(0, len(run.unreadable_file.read_text(encoding="utf-8").splitlines()) - 1)
        lines.append(f"- Unreadable values: {count:,}.")
    known, attribution = _rights(source.name, registry) if source is not None else ("", "")
    lines.append(f"- License of the data: {known or 'not known to the program; state it here'}.")
    if attribution:
        lines.append(f"- Attribution: {attribution}")
    lines += [
        f"- The encoder of {name} started from the weights `{tower.weights}`, whose license goes on."
        for name, tower in recipe.modalities.items()
        if tower.weights not in (None, "random")
    ]
    return lines


def _rights(name: str, registry: Registry) -> tuple[str, str]:
    """Return license and attribution of the records of a source, empty where it declares none or is not installed."""
    try:
        source = registry.find("sources", name).load()
    except SensoriumError:
        return "", ""
    return source.license, source.attribution


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} `{json.dumps(value, ensure_ascii=False)}`" for key, value in options.items())


def _tables(run: Run) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the tables that evaluations wrote, by name."""
    for path in sorted(run.evaluations.rglob("*.json")):
        table = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(table, dict) and {"evaluator", "rows", "protocol"} <= table.keys():
            yield Path(path).relative_to(run.evaluations).with_suffix("").as_posix(), table


def _table(name: str, table: Mapping[str, Any]) -> str:
    """Return a table with its rows to compare with, and under which protocol it was measured."""
    metrics = list(dict.fromkeys(metric for row in table["rows"].values() for metric in row["metrics"]))
    cells = [
        [
            ROWS.get(row, row),
            *(str(Metric(m["scores"])) if (m := values["metrics"].get(metric)) else "–" for metric in metrics),
        ]
        for row, values in table["rows"].items()
    ]
    lines = [f"### {name}", "", *markdown_table(["", *metrics], cells), ""]
    said = f"Protocol: {table['protocol']}. Selection: {table['selection']}. Split {table['split']}: "
    return "\n".join([*lines, said + f"{table['train']:,} train, {table['test']:,} test records."])


def _intended(recipe: Recipe) -> list[str]:
    """Return what the features are for."""
    what = ", ".join(recipe.modalities)
    uses = f"Features of {what} for search, clustering, and classifiers or regressions on records like those above"
    crossed = "; embeddings of its modalities can be compared with each other" if len(recipe.modalities) > 1 else ""
    return [f"{uses}{crossed}. It makes no decision by itself: whatever is built on it has to be measured by itself."]


def _limits(run: Run, recipe: Recipe, is_measured: bool) -> list[str]:
    """Return what is not known of the model, or known to be wrong with it."""
    lines = [
        "- It has seen the records above alone: on others, features may be worth less, and biases of these are in it.",
    ]
    if not is_measured:
        lines.append("- Nothing has been measured: `sensorium evaluate` does.")
    if failed := run.status().get("failed_evaluators", {}):
        lines.append(f"- These evaluations failed: {', '.join(failed)}.")
    if recipe.data.source is None:
        lines.append("- Where its records come from is not on file.")
    return lines
