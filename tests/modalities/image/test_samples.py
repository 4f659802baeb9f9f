"""The pictures of the conformance kit."""

from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.samples import images


def test_samples_are_pictures_that_differ():
    examples = [ImageModality(size=16).decode(raw) for raw in images()]
    assert len({example.tobytes() for example in examples}) == len(examples) == 4
    assert images() == images()
