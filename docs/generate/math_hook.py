"""A hook of mkdocs: formulas become MathML, which browsers draw without any script.

On the pages of objectives, blocks fenced as `math` hold one formula a line, `$...$` one within a sentence.
"""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Return a page's Markdown with its formulas as MathML."""
    return with_mathml(markdown) if page.file.src_uri.startswith("objectives/") else markdown


def with_mathml(markdown: str) -> str:
    """Return Markdown with its formulas drawn."""
    markdown = re.sub(r"^```math\n(.*?)^```$", _block, markdown, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\$([^$`]+)\$", lambda match: f"<span>{convert(match[1])}</span>", markdown)


def _block(match: re.Match[str]) -> str:
    lines = match[1].strip().split("\\\\\n")
    return "\n\n".join(f'<div class="formula">{convert(line.strip(), display="block")}</div>' for line in lines)
