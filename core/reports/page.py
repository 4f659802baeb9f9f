"""Rendering of a page: one HTML file with its charts, images, sounds and programs inside.

Nothing is loaded: a content security policy forbids the page to ask for anything, and to run any program but the two
that it was written with, whatever stands in the texts of records, labels and files.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from sensorium.errors import RunError

NEEDED = {"jinja2": "jinja2", "altair": "altair", "vl_convert": "vl-convert-python"}
"""Module -> distribution, those of the extra `report`."""


def require_libraries() -> None:
    """Raise an error where the libraries of a page are not installed.

    Raises:
        RunError: which says how to install them.
    """
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise RunError(f"A page needs {', '.join(missing)}: run pip install 'sensorium[report]'.")


def render(template: str, **content: Any) -> str:
    """Return a page.

    Args:
        template: its file name in `templates`.
        content: what the template shows.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    programs = [_vega(), _text("page.js")]
    allowed = " ".join(f"'sha256-{b64encode(sha256(program.encode()).digest()).decode()}'" for program in programs)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; script-src {allowed}"
    page = environment.get_template(template)
    return page.render(policy=policy, programs=programs, style=_text("page.css"), **content)


def markdown(text: str) -> str:
    """Return Markdown as HTML, in which HTML of the text is text, and no image is loaded."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text)


def _text(name: str) -> str:
    return (files("sensorium.reports") / "templates" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one program that stands in a page."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
