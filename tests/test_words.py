"""Home-made words that hide a standard term stay out of code and docs; `docs/decisions/0008` says why."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = ("core", "modalities", "plugins", "docs")
ABOUT_WORDS = ROOT / "docs" / "decisions" / "0008-the-words-of-the-field.md"
WORDS = {
    r"\btold apart\b|\btells? apart\b|\btelling apart\b": "classify, discriminate",
    r"\bhangs? on\b": "is a function of, is seeded from",
    r"\bnobody's\b": "excluded, ignored",
    r"\bhears?\b": "aggregates, receives messages",
    r"\bhand-made\b": "baseline",
    r"(?<!your )\bown pairs?\b": "positive pair",
    r"\bwrong forms? (of|as)\b": "corrupted",
    r"\bforetells?\b": "predict",
    r"\blooks? back over\b": "averages over",
    r"\bslow(er)? teacher": "EMA teacher",
    r"\bfavourite|\bcolour|\bgrey\b|\bnormalis": "American spelling",
    r"(?i)\bpictures?\b|(def|class) \w*picture": "image",
}
"""What must not be written, and what to write."""


@pytest.mark.parametrize("pattern", WORDS)
def test_no_home_made_word(pattern):
    paths = [path for tree in TREES for kind in ("*.py", "*.md", "*.yaml") for path in (ROOT / tree).rglob(kind)]
    found = [
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for path in paths
        if path != ABOUT_WORDS
        for match in re.finditer(pattern, path.read_text(encoding="utf-8"))
    ]
    assert found == [], f"write: {WORDS[pattern]}"
