"""Names of emoji in several languages: short texts labeled with their language.

The names are those of the Unicode Common Locale Data Repository, as the wheel `emoji` ships them.
"""

from __future__ import annotations

import emoji

from sensorium import Record, Source
from sensorium.errors import DataError, not_found
from sensorium.plugins.samples.openmoji import TONES, base_name, clean_name

LATIN = ("en", "es", "pt", "it", "fr", "de", "id", "tr")
"""Languages of the Latin alphabet, which single letters do not identify."""


class EmojiNames(Source):
    """One record for each emoji and language: field "text" holds the name, label "language" its language.

    Ids are such as "1F600-en". The names of one emoji are one group. Skin tone variants are left out.

    Args:
        languages: en, es, pt, it, fr, de, id or tr, and those of other alphabets: ja, ko, fa, zh, ru or ar.
        count: number of emoji, evenly spaced in the order of their code points.
    """

    license = "the Unicode license"
    attribution = "Names: Unicode Common Locale Data Repository."

    def __init__(self, languages: list[str] | tuple[str, ...] = LATIN, count: int = 400) -> None:
        for language in languages:
            if language not in emoji.LANGUAGES:
                raise DataError(
                    not_found(
                        f"There are no names of emoji in '{language}'",
                        language,
                        emoji.LANGUAGES,
                        f"the languages are: {', '.join(emoji.LANGUAGES)}",
                    )
                )
            emoji.config.load_language(language)
        named = {
            "-".join(f"{ord(c):04X}" for c in characters): names
            for characters, names in emoji.EMOJI_DATA.items()
            if names["status"] == emoji.STATUS["fully_qualified"] and all(one in names for one in languages)
        }
        codes = [code for code in sorted(named) if not TONES.keys() & set(code.split("-"))]
        if not languages or not 1 <= count <= len(codes):
            raise DataError(
                f"The source 'emoji-names' has 1 to {len(codes)} emoji in one language or more, not {count}."
            )
        self._records = [
            (f"{code}-{language}", clean_name(named[code][language]), language, base_name(named[code]["en"]))
            for code in (codes[i * len(codes) // count] for i in range(count))
            for language in languages
        ]

    @property
    def fields(self) -> tuple[str, ...]:
        """The name."""
        return ("text",)

    def __len__(self) -> int:
        return len(self._records)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its name."""
        name, _, language, group = self._records[index]
        return Record(name, {}, {"language": language}, group=group)

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(key.id, {"text": self._records[index][1]}, key.labels, group=key.group)
