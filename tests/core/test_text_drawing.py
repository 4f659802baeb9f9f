"""Text in images: other fonts for what Pillow's own lacks, boxes and one warning for what none has."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sensorium import text_drawing
from sensorium.text_drawing import draw_text, font_files, shorten_text, text_image, text_width, wrap_text

SCRIPTS = {"French": "été à Besançon", "Russian": "красный дом", "Chinese": "红色的猫", "Arabic": "قطة حمراء"}


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine without fonts, where nothing was said yet."""
    text_drawing._path_of.cache_clear()
    monkeypatch.setattr(text_drawing, "font_files", tuple)
    monkeypatch.setattr(text_drawing, "_said", set())
    yield
    text_drawing._path_of.cache_clear()


def pixels(text: str) -> np.ndarray:
    return np.asarray(text_image(text))


def test_plain_words_are_drawn_as_pillow_draws_them():
    image = Image.new("RGB", (200, 40), "white")
    draw_text(image, (8, 5), "a red square", 20, (30, 0, 0))
    wanted, font = Image.new("RGB", (200, 40), "white"), ImageFont.load_default(20)
    ImageDraw.Draw(wanted).text((8, 5), "a red square", (30, 0, 0), font)
    assert image.tobytes() == wanted.tobytes()
    assert text_width("a red square", 20) == font.getlength("a red square")


def has_font_of(text: str) -> bool:
    return all(text_drawing._path_of(cluster) for cluster in text_drawing._clusters(text) if not cluster.isspace())


@pytest.mark.parametrize("script", SCRIPTS)
def test_other_scripts_have_glyphs_where_a_font_has_them(script):
    text = SCRIPTS[script]
    if not has_font_of(text):
        pytest.skip(f"no font here has {script}")
    own = ImageFont.load_default(28)
    box = bytes(own.getmask(text_drawing.UNASSIGNED))
    missing = [char for char in text if not char.isspace() and bytes(own.getmask(char)) == box]
    assert missing, "Pillow's own font has them by now"
    # Characters that all were boxes in Pillow's font now differ from each other.
    assert len({pixels(char).tobytes() for char in set(missing)}) == len(set(missing))


def test_a_phrase_is_drawn_in_one_font_where_one_has_it():
    if not has_font_of("é"):
        pytest.skip("no font here has é")
    (run,) = text_drawing._runs("un été chaud", 20)
    assert run[1] == "un été chaud"


def test_accents_flags_and_joined_emoji_stay_together():
    assert text_drawing._clusters("e\u0301a") == ["e\u0301", "a"]
    assert text_drawing._clusters("👍🏽👨\u200d👩\u200d👧🇩🇪🇫🇷❤\ufe0f") == [
        "👍🏽",
        "👨\u200d👩\u200d👧",
        "🇩🇪",
        "🇫🇷",
        "❤\ufe0f",
    ]


def test_what_no_font_has_is_said_once_with_the_package(no_fonts, caplog):
    with caplog.at_level(logging.WARNING, "sensorium"):
        for text in ("红色的猫", "猫", "красный", "красный дом", "😀 👍🏽"):
            assert text_image(text).size == (256, 256)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    for message, script, package in zip(
        told,
        ("'红' (CJK)", "'к' (Cyrillic)", "'😀' (emoji)"),
        ("fonts-noto-cjk", "fonts-dejavu-core", "fonts-noto-color-emoji"),
        strict=True,
    ):
        assert message.startswith(f"No font here has the character {script}: images show a box for it.")
        assert package in message


def test_fonts_of_other_styles_are_left_out(tmp_path, monkeypatch):
    for name in ("Some-Bold.ttf", "Some.ttf", "DejaVuSans.ttf", "Other-Italic.otf", "notes.txt"):
        (tmp_path / "fonts" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "fonts" / name).write_bytes(b"damaged")
    monkeypatch.setattr(text_drawing, "_folders", lambda: [tmp_path / "fonts"])
    font_files.cache_clear()
    found = [path.rpartition("/")[2] for path in font_files()]
    font_files.cache_clear()
    assert found == ["DejaVuSans.ttf", "Some.ttf"]


def test_lines_are_shortened_and_wrapped_to_a_width():
    text = "a caption that is far too long for its cell"
    short = shorten_text(text, 13, 100)
    assert short.endswith("…")
    assert text_width(short, 13) <= 100
    assert shorten_text("short", 13, 100) == "short"
    lines = list(wrap_text(f"{text} {'x' * 99}", 13, 100))
    assert all(text_width(line, 13) <= 100 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split()) + "x" * 99
