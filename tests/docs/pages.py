"""The pages of the documentation, and what is shown on them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return [block for name, block in blocks_of(page) if name == language]


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of every fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def write_recipes(page: Path, folder: Path) -> None:
    """Write every recipe whose first line names its file, `# x.yaml: sensorium train x.yaml`, into a folder."""
    for block in blocks(page, "yaml"):
        if match := re.match(r"# (\S+\.yaml)", block):
            (folder / match[1]).write_text(block, encoding="utf-8")


def commands(page: Path) -> list[list[str]]:
    """Return the words of every call of `sensorium` that a page shows, and of what makes runs of its recipes."""
    found = []
    for language, block in blocks_of(page):
        shown = block if language == "sh" else ""
        if language == "yaml" and (header := re.match(r"# \S+\.yaml: (sensorium .+ --run-dir .+)", block)):
            shown = header[1]
        for line in shown.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for i, word in enumerate(words):
                if word == "sensorium" or word.endswith("/sensorium"):
                    found.append(words[i + 1 :])
                    break
    return found


def name_of(page: Path) -> str:
    """Return the path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()
