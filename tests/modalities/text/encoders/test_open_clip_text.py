import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.open_clip_text import OpenClipText
from sensorium.modalities.text.modality import TextModality
from sensorium.testing.emulation import table
from tests.emulation.encoding import encoded_on_device

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(autouse=True)
def small(tmp_path):
    """A small architecture, known to open_clip while a test runs."""
    import json

    import open_clip

    (tmp_path / "small-for-tests.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "small-for-tests.json")


@pytest.fixture
def modality():
    return TextModality("open_clip:small-for-tests", length=20)


@pytest.fixture
def batch(modality):
    return modality.collate([modality.decode(t) for t in ("a photo of a cat", "two dogs")])


def test_encodes_as_open_clip_does(modality, batch):
    import open_clip

    whole = open_clip.create_model("small-for-tests").eval()
    encoder = OpenClipText(modality, "small-for-tests").eval()
    own = {n: w for n, w in whole.state_dict().items() if n in encoder.tower.state_dict()}
    encoder.tower.load_state_dict(own)
    ids = open_clip.get_tokenizer("small-for-tests")(["a photo of a cat", "two dogs"])
    with torch.no_grad():
        assert torch.allclose(encoder(batch).pooled, whole.encode_text(ids), atol=1e-5)
        wide = torch.nn.functional.pad(batch.ids, (0, 9)), torch.nn.functional.pad(batch.mask, (0, 9))
        assert torch.equal(encoder(TextBatch(*wide)).pooled, encoder(batch).pooled)
    assert encoder.dim == 16


@pytest.mark.parametrize("custom_text", [False, True])
def test_loads_the_checkpoint_of_a_whole_model(modality, batch, tmp_path, custom_text):
    import open_clip

    whole = open_clip.create_model("small-for-tests", force_custom_text=custom_text)
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "whole.pt")
    encoder = OpenClipText(modality, "small-for-tests", str(tmp_path / "whole.pt")).eval()
    with torch.no_grad():
        ids = torch.nn.functional.pad(batch.ids, (0, 77 - batch.ids.shape[1]))
        assert torch.allclose(encoder(batch).pooled, whole.eval().encode_text(ids), atol=1e-5)


def test_a_checkpoint_of_another_architecture_is_refused(modality, tmp_path):
    torch.save({"token_embedding.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(RecipeError, match="does not fit 'small-for-tests'"):
        OpenClipText(modality, "small-for-tests", str(tmp_path / "other.pt"))
    with pytest.raises(RecipeError, match="cannot be read"):
        OpenClipText(modality, "small-for-tests", str(tmp_path / "absent.pt"))


def test_what_does_not_fit_is_refused(modality):
    with pytest.raises(RecipeError, match="did you mean 'ViT-B"):
        OpenClipText(modality, "ViT-B-33")
    with pytest.raises(RecipeError, match="encoder 'transformers'"):
        OpenClipText(modality, "roberta-ViT-B-32")
    with pytest.raises(RecipeError, match="length to at most 77"):
        OpenClipText(TextModality("open_clip", length=100), "small-for-tests")
    other = TextModality(vocab=300)
    other.fit(["some text"])
    with pytest.raises(RecipeError, match="tokenizer to 'open_clip:small-for-tests'"):
        OpenClipText(other, "small-for-tests")


def test_no_image_tower_is_built(modality):
    assert not [name for name, _ in OpenClipText(modality, "small-for-tests").named_parameters() if "visual" in name]


def test_the_host_waits_for_nothing(modality, batch):
    _, waits = encoded_on_device(OpenClipText(modality, "small-for-tests").train(), batch)
    assert not waits, table(waits)
