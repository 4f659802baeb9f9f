import pytest

from sensorium.modalities.text.modality import TextModality

SENTENCES = [
    "a small cat sleeps on the warm stone",
    "the dog runs over the green field after a red ball",
    "rain falls",
    "two birds sing in the old tree while the wind blows",
    "nobody knows what the tall man in the blue coat is waiting for at this hour of the night",
]


@pytest.fixture(scope="session")
def sentences():
    return SENTENCES


@pytest.fixture(scope="session")
def modality():
    """A text modality with a small byte-pair tokenizer."""
    made = TextModality(vocab=320, length=48)
    made.fit(SENTENCES)
    return made


@pytest.fixture(scope="session")
def batch(modality):
    return modality.collate([modality.decode(text) for text in SENTENCES])
