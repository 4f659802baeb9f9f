"""A hook of mkdocs: formulas in blocks fenced as `math` become MathML, which browsers draw without any script."""

from __future__ import annotations

import re

from latex2mathml.converter import convert


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page's Markdown with its formulas as MathML."""
    return re.sub(r"^```math\n(.*?)^```$", _drawn, markdown, flags=re.MULTILINE | re.DOTALL)


def _drawn(match: re.Match[str]) -> str:
    lines = [convert(line, display="block") for line in match[1].split("\\\\\n")]
    return "\n".join(f'<div class="formula">{line}</div>' for line in lines)
