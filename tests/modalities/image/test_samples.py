"""The sample images of the conformance kit."""

from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.samples import sample_images


def test_samples_are_different_images():
    examples = [ImageModality(size=16).decode(raw) for raw in sample_images()]
    assert len({example.tobytes() for example in examples}) == len(examples) == 4
    assert sample_images() == sample_images()
