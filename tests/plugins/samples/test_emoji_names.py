import pytest

from sensorium.errors import DataError
from sensorium.plugins.samples.emoji_names import LATIN, EmojiNames
from sensorium.plugins.samples.openmoji import TONES


@pytest.fixture(scope="module")
def source():
    return EmojiNames()


def test_every_emoji_has_a_name_in_every_language(source):
    assert len(source) == 400 * len(LATIN)
    keys = [source.key(i) for i in range(len(source))]
    assert len({key.id for key in keys}) == len(source)
    assert {key.labels["language"] for key in keys} == set(LATIN)
    assert all(source[i].values["text"] for i in range(len(source)))


def test_names_of_one_emoji_are_one_group(source):
    for start in range(0, 80, len(LATIN)):
        of_one = [source.key(i) for i in range(start, start + len(LATIN))]
        assert len({key.group for key in of_one}) == 1
        assert len({key.id.rpartition("-")[0] for key in of_one}) == 1


def test_a_record():
    source = EmojiNames(["en", "de"], count=1900)
    names = {source.key(i).id: source[i].values["text"] for i in range(len(source))}
    assert names["1F44D-en"] == "thumbs up"
    assert not any(tone in name.split("-") for name in names for tone in TONES)
    assert source[0].labels == {"language": "en"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"languages": ["xx"]}, "no names of emoji in 'xx'"),
        ({"count": 0}, "not 0"),
        ({"languages": []}, "one language"),
    ],
)
def test_what_is_not_there_is_refused(options, words):
    with pytest.raises(DataError, match=words):
        EmojiNames(**options)
