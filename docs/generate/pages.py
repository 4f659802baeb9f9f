"""Every generated page by its path."""

from __future__ import annotations

from pathlib import Path

from docs.generate.api_pages import api_pages
from docs.generate.cli_page import cli_page
from docs.generate.conformance_page import conformance_page
from docs.generate.example_pages import example_page
from docs.generate.gallery_page import gallery_page
from docs.generate.modality_pages import modality_pages
from docs.generate.objective_pages import objective_pages
from docs.generate.recipe_page import recipe_page

DOCS = Path(__file__).parents[1]
REFERENCE = DOCS / "reference"


def pages() -> dict[Path, str]:
    """Return the text of every generated page by its path."""
    reference = {"recipe.md": recipe_page(), "cli.md": cli_page(), "conformance.md": conformance_page(), **api_pages()}
    return {
        DOCS / "gallery.md": gallery_page(),
        **{REFERENCE / name: text for name, text in reference.items()},
        DOCS / "examples" / "index.md": example_page(),
        **{DOCS / "objectives" / name: text for name, text in objective_pages().items()},
        **{DOCS / "modalities" / name: text for name, text in modality_pages().items()},
    }


def generated() -> set[Path]:
    """Return the pages in folders that hold generated pages alone."""
    folders = (REFERENCE / "api", DOCS / "objectives", DOCS / "modalities")
    return {path for folder in folders for path in folder.glob("*.md")}
