"""Audio models of transformers: small ones of each architecture, in folders as `save_pretrained` writes them."""

import pytest
import torch

from sensorium.modalities.audio.encoders.transformers import TransformersAudio
from sensorium.modalities.audio.modality import AudioModality
from sensorium.testing.emulation import table
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device
from tests.modalities.audio.clips import batch_of
from tests.modalities.pretrained_case import check_every_objective, check_family

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
WAVES = {
    **SMALL,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
PATCHES = {"max_length": 64, "num_mel_bins": 32, "patch_size": 8, "time_stride": 6, "frequency_stride": 5}
PATCHES |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
MODELS = {
    "wav2vec2": ("Wav2Vec2", WAVES),
    "wav2vec2-large": ("Wav2Vec2", WAVES | LARGE),
    "hubert": ("Hubert", WAVES | {"feat_proj_layer_norm": False}),
    "hubert-large": ("Hubert", WAVES | LARGE),
    "wavlm": ("WavLM", WAVES | {"num_buckets": 32, "max_bucket_distance": 40}),
    "wavlm-large": ("WavLM", WAVES | LARGE | {"num_buckets": 32, "max_bucket_distance": 40}),
    "data2vec-audio": ("Data2VecAudio", WAVES | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
    "unispeech": ("UniSpeech", WAVES),
    "unispeech-sat": ("UniSpeechSat", WAVES | LARGE),
    "ast": ("AST", PATCHES),
}
WAVEFORMS = [name for name in MODELS if name != "ast"]
LENGTHS = [6000, 4100, 801, 400]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each model, with weights drawn anew, by name."""
    made = {}
    for name, (family, options) in MODELS.items():
        torch.manual_seed(0)
        made[name] = tmp_path_factory.mktemp(name)
        model = getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**options))
        with torch.no_grad():
            for parameter in model.parameters():  # else biases, and positions of AST, would be zeros
                parameter.add_(0.1 * torch.randn(parameter.shape))
        model.save_pretrained(made[name])
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=name != "wavlm")
        if name == "ast":
            extractor = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
        extractor.save_pretrained(made[name])
    return made


def modality(**options) -> AudioModality:
    return AudioModality(**{"sample_rate": 16000, "seconds": None} | options)


def built(folder, loaded=True, **options):
    """The encoder of a folder, in evaluation mode."""
    options = {"model": str(folder), **options}
    encoder = TransformersAudio.variant(options)(modality(), **options)
    if loaded:
        load_weights(encoder, encoder.own_weights)
    return encoder.eval()


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_features_are_those_of_the_library(folders, name):
    encoder, batch = built(folders[name]), batch_of(LENGTHS)
    features = encoder(batch)
    model = transformers.AutoModel.from_pretrained(folders[name]).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folders[name])
    for row, clip in enumerate(batch.unpad()):
        expected = model(**extractor(clip[0], sampling_rate=16000, return_tensors="pt"))
        tokens = expected.last_hidden_state[0]
        pooled = tokens.mean(0)
        if name == "ast":
            tokens, pooled = tokens[2:], expected.pooler_output[0]
        count = int(features.valid()[row].sum())
        assert count == len(tokens)
        torch.testing.assert_close(features.tokens[row, :count], tokens, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(features.pooled[row], pooled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_dropped_tokens_places_noise_padding_and_no_rows(folders, name):
    check_family(built(folders[name]), batch_of([24000, 16000, 9000] if name != "ast" else LENGTHS))


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "ast"])
def test_every_objective_that_needs_tokens_trains_a_step(folders, name):
    check_every_objective(built(folders[name]), "audio", batch_of([12000, 9000, 8000] if name != "ast" else LENGTHS))


def test_the_host_never_waits(folders):
    for name in ("wav2vec2", "wavlm", "data2vec-audio", "ast"):
        _, waits = encoded_on_device(built(folders[name]).train(), batch_of(LENGTHS))
        assert not waits, f"{name}: {table(waits)}"
