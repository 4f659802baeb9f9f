"""Text in images, in any script that some font of this machine has.

Pillow's own font has ASCII alone. Characters that it lacks are drawn in a font that is found: of matplotlib, where that
is installed, or of the system. Characters that none has are drawn as boxes, and named once in the log, with the package
that has them. Right-to-left scripts are shaped where Pillow has Raqm, as its wheels do.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger("sensorium")
Color = tuple[int, int, int] | str
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

PREFERRED = (
    *("DejaVuSans", "NotoSans-Regular", "LiberationSans-Regular", "Arial Unicode", "arial", "segoeui", "Helvetica"),
    *("NotoSansCJK-Regular", "NotoSansCJKsc-Regular", "SourceHanSans-Regular", "wqy-microhei", "wqy-zenhei"),
    *("DroidSansFallbackFull", "msyh", "PingFang", "NotoSansArabic-Regular", "NotoNaskhArabic-Regular"),
)
"""Fonts that are tried before all others, by the name of their file."""
EMOJI = ("NotoColorEmoji", "Apple Color Emoji", "seguiemj", "Symbola")
"""Fonts that are tried first for emoji."""
OTHER_STYLES = ("bold", "italic", "oblique", "light", "thin", "black", "medium", "mono", "condensed", "serif", "math")
BITMAP_SIZES = (109, 128, 136, 160)
"""Sizes in pixels of the glyphs of color fonts, which are not outlines."""
UNASSIGNED = "\u0378"
"""No font has this character: what is drawn for it is drawn for every missing one."""
JOINERS = ("\u200d", "\ufe0e", "\ufe0f")
"""Zero-width joiner and variation selectors."""
PACKAGES = {
    "CJK": "fonts-noto-cjk",
    "HIRAGANA": "fonts-noto-cjk",
    "KATAKANA": "fonts-noto-cjk",
    "HANGUL": "fonts-noto-cjk",
    "LATIN": "fonts-dejavu-core",
    "CYRILLIC": "fonts-dejavu-core",
    "GREEK": "fonts-dejavu-core",
    "ARABIC": "fonts-dejavu-core",
    "HEBREW": "fonts-dejavu-core",
    "emoji": "fonts-noto-color-emoji",
}
"""Debian's package of fonts for a script, by the first word of its characters' names; `OTHER_PACKAGE` for others."""
OTHER_PACKAGE = "fonts-noto-core"
_said: set[str] = set()
"""Scripts of which this process has said that no font has them."""


@dataclass(frozen=True)
class _Face:
    """A font at a size: Pillow's own without a path; one of bitmaps is scaled from the size that it has.

    Args:
        path: the font's file.
        size: in pixels.
    """

    path: str | None
    size: int

    def width(self, text: str) -> float:
        font, scale = _opened(self)
        return font.getlength(text) * scale

    def draw(self, image: Image.Image, x: float, baseline: float, text: str, fill: Color) -> None:
        font, scale = _opened(self)
        if scale == 1:
            ImageDraw.Draw(image).text((x, baseline), text, fill, font, anchor="ls", embedded_color=True)
            return
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        glyphs = Image.new("RGBA", (max(int(right - left), 1), max(int(bottom - top), 1)))
        ImageDraw.Draw(glyphs).text((-left, -top), text, fill, font, anchor="ls", embedded_color=True)
        size = max(round(glyphs.width * scale), 1), max(round(glyphs.height * scale), 1)
        scaled = glyphs.resize(size, Image.Resampling.LANCZOS)
        at = round(x + left * scale), round(baseline + top * scale)
        image.paste(scaled.convert(image.mode), at, scaled.getchannel("A"))

    def has(self, text: str) -> bool:
        """Whether every character of a text has a glyph."""
        return all(char.isspace() or char in JOINERS or _has_glyph(self.path, char) for char in text)


def text_width(text: str, size: int) -> float:
    """Return the width of a line in pixels.

    Args:
        text: one line, in any script.
        size: of the font, in pixels.
    """
    return sum(face.width(run) for face, run in _runs(text, size))


def draw_text(image: Image.Image, at: tuple[float, float], text: str, size: int, fill: Color = "black") -> None:
    """Draw a line of text.

    Args:
        image: to draw on.
        at: left and top in pixels.
        text: one line, in any scripts.
        size: in pixels.
        fill: its color.
    """
    x, baseline = at[0], at[1] + _ascent(size)
    for face, run in _runs(text, size):
        face.draw(image, x, baseline, run, fill)
        x += face.width(run)


def shorten_text(text: str, size: int, width: float) -> str:
    """Cut a line to a width in pixels, with an ellipsis at the end."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap_text(text: str, size: int, width: float) -> Iterator[str]:
    """Break text into lines of a width in pixels at most, between words where that is possible."""
    line, reach = "", int(width) + 1  # no line holds more characters than pixels
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if text_width(joined, size) <= width:
            line = joined
            continue
        if line:
            yield line
        while text_width(word[:reach], size) > width and len(word) > 1:
            lengths = range(1, min(len(word), reach))
            most = max(1, bisect_right(lengths, width, key=partial(_width_of_start, word, size)))
            yield word[:most]
            word = word[most:]
        line = word
    if line:
        yield line


def _width_of_start(word: str, size: int, count: int) -> float:
    return text_width(word[:count], size)


def text_image(text: str, side: int = 256) -> Image.Image:
    """Render text on a white square RGB image; short texts are larger, long ones are cut off below.

    Args:
        text: in any script; characters that cannot be printed are blanks.
        side: of the image, in pixels.
    """
    shown = "".join(char if char.isprintable() or char in JOINERS else " " for char in text)
    size, edge = 28 if len(shown) <= 60 else 14, 8
    step = round(1.3 * size)
    image = Image.new("RGB", (side, side), "white")
    for row, line in enumerate(wrap_text(shown, size, side - 2 * edge)):
        y = edge + row * step
        if y > side - edge - step:
            break
        draw_text(image, (edge, y), line, size)
    return image


def _runs(text: str, size: int) -> list[tuple[_Face, str]]:
    """Cut a line into runs of one font each: as few as possible, so that a font shapes and orders whole phrases."""
    own = _Face(None, size)
    if own.has(text):
        return [(own, text)] if text else []
    faces = [(_face_of(cluster, size), cluster) for cluster in _clusters(text)]
    paths = dict.fromkeys(face.path for face, _ in faces if face.path is not None and not _is_emoji_font(face.path))
    words = [(face, cluster) for face, cluster in faces if face.path is None or not _is_emoji_font(face.path)]
    for path in paths:
        face = _Face(path, size)
        if all(face.has(cluster) for _, cluster in words):
            faces = [(of if of.path and _is_emoji_font(of.path) else face, cluster) for of, cluster in faces]
            break
    return [(face, "".join(cluster for _, cluster in run)) for face, run in groupby(faces, key=lambda item: item[0])]


def _clusters(text: str) -> list[str]:
    """Cut text into characters with whatever is drawn together with them: accents, joined emoji, flags, skin tones."""
    clusters: list[str] = []
    for char in text:
        before = clusters[-1] if clusters else ""
        follows = unicodedata.combining(char) or char in JOINERS or "\U0001f3fb" <= char <= "\U0001f3ff"
        flag = _is_flag(char) and len(before) == 1 and _is_flag(before)
        if before and (follows or flag or before.endswith("\u200d")):
            clusters[-1] += char
        else:
            clusters.append(char)
    return clusters


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _is_emoji(cluster: str) -> bool:
    return cluster[0] >= "\U0001f000" or "\ufe0f" in cluster


def _face_of(cluster: str, size: int) -> _Face:
    """Return the first font that has a cluster, or Pillow's own, of which its box is drawn."""
    own = _Face(None, size)
    if own.has(cluster) and not _is_emoji(cluster):
        return own
    path = _path_of(cluster)
    return own if path is None else _Face(path, size)


@cache
def _path_of(cluster: str) -> str | None:
    """Return the file of the first font that has a cluster; a missing one is named in the log."""
    paths = sorted(font_files(), key=lambda path: not _is_emoji_font(path)) if _is_emoji(cluster) else font_files()
    found = next((path for path in paths if _Face(path, 20).has(cluster)), None)
    if found is None:
        _say_missing(cluster)
    return found


def _say_missing(cluster: str) -> None:
    """Name a character that no font has, once for each script."""
    script = "emoji" if _is_emoji(cluster) else unicodedata.name(cluster[0], "UNKNOWN").split()[0].split("-")[0]
    if script in _said:
        return
    _said.add(script)
    log.warning(
        "No font here has the character '%s' (%s): images show a box for it. Install fonts that have it, on Debian "
        "and Ubuntu the package %s, or put one into %s.",
        cluster,
        script if script in ("emoji", "CJK") else script.capitalize(),
        PACKAGES.get(script, OTHER_PACKAGE),
        "~/.local/share/fonts",
    )


@cache
def font_files() -> tuple[str, ...]:
    """Return the files of the fonts of this machine, those that are tried first in front; other styles are left out."""
    found = {path.stem: str(path) for path in _walk(_folders()) if not _is_other_style(path.stem)}
    order = {name: rank for rank, name in enumerate((*PREFERRED, *EMOJI))}
    return tuple(found[stem] for stem in sorted(found, key=lambda stem: (order.get(stem, len(order)), stem)))


def _folders() -> list[Path]:
    """Return the folders of fonts: of matplotlib, of the user and of the system."""
    folders = [Path.home() / ".local/share/fonts", Path.home() / ".fonts"]
    if (matplotlib := find_spec("matplotlib")) is not None and matplotlib.origin:
        folders.insert(0, Path(matplotlib.origin).parent / "mpl-data/fonts/ttf")
    if sys.platform == "darwin":
        return [*folders, Path.home() / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    if sys.platform == "win32":
        return [*folders, Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [*folders, *(Path(folder) / "fonts" for folder in shared.split(os.pathsep))]


def _walk(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in sorted(os.walk(folder)):
            yield from (Path(parent, name) for name in sorted(names) if name.lower().endswith((".ttf", ".otf", ".ttc")))


def _is_other_style(stem: str) -> bool:
    return stem not in PREFERRED and any(style in stem.lower() for style in OTHER_STYLES)


def _is_emoji_font(path: str) -> bool:
    return Path(path).stem in EMOJI


def _has_glyph(path: str | None, char: str) -> bool:
    """Whether a font draws another glyph for a character than for one that no font has."""
    return _glyph(path, char) != _glyph(path, UNASSIGNED)


@lru_cache(maxsize=65536)
def _glyph(path: str | None, char: str) -> tuple[Sequence[int], bytes]:
    font, _ = _opened(_Face(path, 20))
    try:
        mask = font.getmask(char, mode="L")
    except (OSError, ValueError):  # a damaged font
        return (), b""
    return mask.size, bytes(mask)


@cache
def _opened(face: _Face) -> tuple[Font, float]:
    """Return a font, and the factor by which what it draws is scaled."""
    if face.path is None:
        return ImageFont.load_default(face.size), 1
    for size in (face.size, *BITMAP_SIZES):
        try:
            return ImageFont.truetype(face.path, size), face.size / size if size != face.size else 1
        except OSError:  # a font of bitmaps has its own sizes alone
            continue
    return ImageFont.load_default(face.size), 1


def _ascent(size: int) -> int:
    font = ImageFont.load_default(size)
    return font.getmetrics()[0] if isinstance(font, ImageFont.FreeTypeFont) else size
