"""A page for each modality: formats, sources, views with images, encoders, baseline features, recipes."""

from __future__ import annotations

from typing import Any

from docs.generate import matrix_rows
from docs.generate.markdown import about, cell, docstring, escaped, option_table, table
from docs.generate.objective_pages import modality_names, shipped
from docs.generate.view_images import IMAGES, WORDS, path_of
from sensorium.recipe.schema import Recipe
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import options_of
from sensorium.registration.registry import Registry, Spec


def modality_pages() -> dict[str, str]:
    """Return the text of the list of modalities and of each one's page, by file name."""
    registry = load_extensions({}, []).registry
    specs = list(registry.specs("modalities"))
    rows = [(f"[{WORDS[s.name]['title']}]({s.name}.md)", f"`{s.name}`", cell(s.summary)) for s in specs]
    index = f"""# Modalities

A modality says how a raw value is decoded to an example and how examples become a batch; its view generators augment
batches, its encoders turn them into features. Every [objective](../objectives/index.md) can be asked of each.

{table(("modality", "name", "summary"), rows)}"""
    return {"index.md": index, **{f"{spec.name}.md": _page(registry, spec) for spec in specs}}


def _page(registry: Registry, spec: Spec) -> str:
    target, words = spec.load(), WORDS[spec.name]
    sections = [
        ("Options", option_table(options_of(target))),
        ("Formats", docstring(target.decode)),
        ("Sources", _sources(registry, words["sources"])),
        ("Views", _views(registry, spec.name, words["sample"]["credit"])),
        ("Encoders", _parts(registry, "encoders", spec.name)),
        ("Evaluation", f"Baseline features: {_lowered(docstring(target.baseline_features))}\n\n{words['evaluation']}"),
        ("Recipes", _recipes(spec.name)),
        ("Objectives", _objectives(spec.name)),
    ]
    head = f"# {words['title']}\n\n{about(target)}\n\nModality `{spec.name}`, plugin `{spec.plugin}`{_extra(spec)}.\n"
    return head + "".join(f"\n## {title}\n\n{text.rstrip()}\n" for title, text in sections if text)


def _extra(spec: Spec) -> str:
    return f", needs `pip install '{spec.distribution}[{spec.extra}]'`" if spec.extra else ""


def _lowered(text: str) -> str:
    return text.removeprefix("Return ")


def _sources(registry: Registry, names: list[str]) -> str:
    rows = []
    for name in names:
        spec = registry.find("sources", name)
        rows.append((f"`{name}`", cell(spec.summary), f"`{spec.extra}`" if spec.extra else ""))
    return table(("source", "summary", "extra"), rows)


def _views(registry: Registry, name: str, credit: str) -> str:
    head = (
        "The first column of an image shows decoded records, the others the views that one call makes of each. "
        f"Records: {credit}.\n"
    )
    return head + _parts(registry, "views", name)


def _parts(registry: Registry, kind: str, modality: str) -> str:
    """Return a section for each encoder or view generator of a modality."""
    out = ""
    for spec in registry.specs(kind):
        if spec.modality != modality:
            continue
        target = spec.load()
        blocks = [f"### `{spec.name}`", f"*{escaped(spec.summary)}*", about(target)]
        if kind == "views":
            blocks += _view_blocks(spec, target)
        options = options_of(target, skip=1)
        blocks += [option_table(options).rstrip()] if options else []
        out += "\n" + "\n\n".join(blocks) + "\n"
    return out


def _view_blocks(spec: Spec, target: Any) -> list[str]:
    blocks = []
    if isinstance(target.target, str):
        blocks.append(f"Target of its views: `{target.target}`.")
    image = path_of(spec)
    if image.exists():
        blocks.append(
            f"![Records and their views by {spec.name}](../assets/views/{image.relative_to(IMAGES).as_posix()})"
        )
    return blocks


def _recipes(modality: str) -> str:
    rows = [
        (f"`{name}`", _named(r), cell(spec.summary))
        for name, (spec, r) in shipped().items()
        if modality in modality_names(r)
    ]
    return table(("recipe", "objective", "summary"), rows) if rows else ""


def _named(recipe: Recipe) -> str:
    """Return the objectives of a recipe as links to their pages."""
    names = [part.name for part in recipe.objectives().values()]
    return ", ".join(f"[{name}](../objectives/{name}.md)" for name in names)


def _objectives(modality: str) -> str:
    """Return the modality's column of the matrix."""
    found = [c for c in matrix_rows.cells() if c.column == modality and not c.reason]
    if not found:
        return ""
    declared = load_extensions({}, []).declared("sensorium_matrix")
    rows = [(f"[{c.row}](../objectives/{_objective(declared, c.row)}.md)", c.trained, c.untrained) for c in found]
    head = f"Metric: {found[0].metric}, of the trained encoder and of its own first weights"
    listed = table(("objective", "trained", "first weights"), rows, (1, 2))
    return f"{head} ([the matrix](../benchmarks/matrix.md)).\n\n{listed}"


def _objective(declared: dict[str, Any], row: str) -> str:
    """Return the objective behind a row of the matrix: its own name, or the one that its options name."""
    return declared.get(f"objectives/{row}", {}).get("name") or row.partition(":")[0]
