"""The gallery: distributions that bring a kind of data of their own, with nothing but public names."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from docs.generate.distributions import Distribution, distributions, extensions
from docs.generate.markdown import cell, table
from sensorium.registration.registry import KINDS, SINGULAR

WORDS = tomllib.loads((Path(__file__).parent / "gallery.toml").read_text(encoding="utf-8"))
IMAGES = Path(__file__).parents[1] / "assets" / "gallery"


def gallery_page() -> str:
    """Return the text of the page."""
    found = distributions()
    rows = [(f"[{WORDS[one.name]['title']}](#{_anchor(one)})", f"`{one.name}`", f"{one.lines():,}") for one in found]
    return f"""# Gallery

Kinds of data that Sensorium does not have, each as a distribution of its own under `tests/distributions/`: written
with the [public names](reference/api.md) alone, installed by pip, checked by `sensorium plugin check`. Lines are those
of its Python package, blank ones aside. [What objectives learn on them](benchmarks/strangers.md) is measured, and
[Write a plugin](how-to/write-a-plugin.md) leads to one of yours.

{table(("kind of data", "distribution", "lines"), rows, right=(2,))}
{"".join(_section(one) for one in found).rstrip()}
"""


def _anchor(one: Distribution) -> str:
    """Return the anchor of a distribution's heading."""
    return WORDS[one.name]["title"].lower().replace(" ", "-")


def image_path(one: Distribution) -> Path:
    """Return where the image of a distribution's views is."""
    return IMAGES / f"{one.name}.png"


def _section(one: Distribution) -> str:
    words, registry = WORDS[one.name], extensions().registry
    specs = [spec for kind in KINDS for spec in registry.specs(kind) if spec.plugin == one.name]
    parts = table(("kind", "name", "summary"), ((SINGULAR[s.kind], f"`{s.name}`", cell(s.summary)) for s in specs))
    package, file = registry.find("recipes", words["recipe"]).target.split(":")
    recipe = (files(package) / file).read_text(encoding="utf-8").strip()
    count = len(one.files())
    return f"""## {words["title"]}

{words["about"]} {one.lines():,} lines of Python in {count} files.

{parts}
The views `{words["views"]["name"]}` of three records, the original on the left:

![Views of {words["title"].lower()}](assets/gallery/{one.name}.png)

```yaml
{recipe}
```

`sensorium train {words["recipe"]}` says, among other things:

{words["output"].strip()}

"""
