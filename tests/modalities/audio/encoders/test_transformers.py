"""Audio models of transformers: small ones of each architecture, in folders as `save_pretrained` writes them."""

import math
import shutil
from argparse import Namespace

import pytest
import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model

from sensorium.blocks.lora import Factors, adapt
from sensorium.errors import RecipeError
from sensorium.modalities.audio.encoders import transformers_folder
from sensorium.modalities.audio.encoders.transformers import TransformersAudio
from sensorium.modalities.audio.encoders.transformers_folder import first_tensor
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.testing.emulation import table
from sensorium.training.gradient_checkpointing import checkpoint_blocks
from sensorium.weights import load_weights
from tests.emulation.encoding import encoded_on_device
from tests.modalities.audio.clips import batch_of
from tests.modalities.pretrained_case import check_every_objective, check_family, check_kept_tokens

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
BERT = SMALL | {"feature_projection_input_dim": 160, "conv_depthwise_kernel_size": 5, "vocab_size": 8}
WHISPER = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "dropout": 0.0}
WHISPER |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "vocab_size": 60}
WHISPER |= {"max_source_positions": 50, "num_mel_bins": 16, "pad_token_id": 0}
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
    "wav2vec2-bert": ("Wav2Vec2Bert", BERT | {"position_embeddings_type": "relative_key"}),
    "wav2vec2-bert-rotary": ("Wav2Vec2Bert", BERT | {"position_embeddings_type": "rotary"}),
    "wav2vec2-bert-relative": ("Wav2Vec2Bert", BERT | {"position_embeddings_type": "relative"}),
    "whisper": ("Whisper", WHISPER),
    "ast": ("AST", PATCHES),
}
WAVEFORMS = [name for name in MODELS if name not in ("ast", "whisper")]
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
        elif name == "whisper":
            extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
        elif name.startswith("wav2vec2-bert"):
            extractor = transformers.SeamlessM4TFeatureExtractor()
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
    encoder, batch = built(folders[name]), batch_of(LENGTHS[:3] if name.startswith("wav2vec2-bert") else LENGTHS)
    features = encoder(batch)
    model = transformers.AutoModel.from_pretrained(folders[name]).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folders[name])
    for row, clip in enumerate(batch.unpad()):
        inputs = extractor(clip[0], sampling_rate=16000, return_tensors="pt")
        output = (model.encoder if name == "whisper" else model)(**inputs)
        tokens = output.last_hidden_state[0]
        if name.startswith("wav2vec2-bert"):
            inputs["input_features"] = encoder._frames(SignalBatch.join([clip]))  # double precision there
            tokens = model(**inputs).last_hidden_state[0, : int(inputs["attention_mask"].sum())]
        pooled = tokens.mean(0)
        if name == "ast":
            tokens, pooled = tokens[2:], output.pooler_output[0]
        elif name == "whisper":
            pooled = tokens[: math.ceil(clip.shape[1] / 320)].mean(0)
        count = int(features.valid()[row].sum())
        assert count == len(tokens)
        torch.testing.assert_close(features.tokens[row, :count], tokens, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(features.pooled[row], pooled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_dropped_tokens_places_noise_padding_and_no_rows(folders, name):
    nothing = batch_of(LENGTHS).select(torch.zeros(0, dtype=torch.int64))
    encoder = built(folders[name])
    encoder(nothing).tokens.sum().backward()
    assert not any(p.grad.any() for p in encoder.parameters() if p.grad is not None)  # nan would be True
    check_family(encoder, batch_of([24000, 16000, 9000] if name in WAVEFORMS else LENGTHS))


ONE_STEP = [pytest.param(name, marks=[] if name in ("wav2vec2", "ast") else [pytest.mark.slow]) for name in MODELS]


@pytest.mark.parametrize("name", ONE_STEP)
def test_every_objective_that_needs_tokens_trains_a_step(folders, name):
    check_every_objective(
        built(folders[name]), "audio", batch_of([12000, 9000, 8000] if name in WAVEFORMS else LENGTHS)
    )


def test_the_host_never_waits(folders):
    for name in ("wav2vec2", "wavlm", "data2vec-audio", "wav2vec2-bert", "whisper", "ast"):
        _, waits = encoded_on_device(built(folders[name]).train(), batch_of(LENGTHS))
        assert not waits, f"{name}: {table(waits)}"


def differs(encoder, others):
    return [name for name, value in encoder.state_dict().items() if not torch.equal(value, others[name])]


TASKS = ("ForPreTraining", "ForCTC", "ForXVector", "ForSequenceClassification", "ForAudioClassification")
TASKS += ("ForConditionalGeneration",)


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_models_with_heads_are_loaded_and_heads_listed(folders, name, tmp_path):
    """What `save_pretrained` writes of a whole model, and the state_dict as such, old names of weight norm included."""
    family, options = MODELS[name]
    expected = built(folders[name]).state_dict()
    for task in TASKS:
        cls = getattr(transformers, family + task, None)
        if cls is None or (name, task) == ("whisper", "ForAudioClassification"):  # of the encoder alone
            continue
        whole = cls(getattr(transformers, f"{family}Config")(**options))
        body = getattr(whole, whole.base_model_prefix)
        body = body.encoder if name == "whisper" else body
        body.load_state_dict({n.removeprefix("model."): value for n, value in expected.items()})
        whole.save_pretrained(tmp_path / task)
        old = {n.replace("parametrizations.weight.original0", "weight_g"): v for n, v in whole.state_dict().items()}
        old = {n.replace("parametrizations.weight.original1", "weight_v"): v for n, v in old.items()}
        torch.save(old, tmp_path / f"{task}.bin")
        for where in (tmp_path / task, tmp_path / f"{task}.bin"):
            encoder = built(folders[name], loaded=False)
            report = load_weights(encoder, where)
            assert not differs(encoder, expected)
            assert not report.missing
            assert report.unexpected


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-large", "hubert-large", "wavlm"])
@torch.no_grad()
def test_weights_in_the_layout_of_torchaudio(folders, name, tmp_path):
    model = transformers.AutoModel.from_pretrained(folders[name])
    torch.save(import_huggingface_model(model).state_dict(), tmp_path / "torchaudio.pth")
    encoder = built(folders[name], loaded=False)
    report = load_weights(encoder, tmp_path / "torchaudio.pth")
    assert report.missing == ("model.masked_spec_embed",)
    batch = batch_of(LENGTHS)
    torch.testing.assert_close(encoder(batch).pooled, built(folders[name])(batch).pooled)


FAIRSEQ = {
    "masked_spec_embed": "mask_emb",
    "feature_projection.layer_norm": "layer_norm",
    "feature_projection.projection": "post_extract_proj",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.pos_conv.0.weight_v",
    "encoder.pos_conv_embed.conv": "encoder.pos_conv.0",
    "encoder.pos_conv_embed.layers.": "encoder.pos_conv.",
    ".attention.gru_rel_pos_linear": ".self_attn.grep_linear",
    ".attention.gru_rel_pos_const": ".self_attn.grep_a",
    ".attention.rel_attn_embed": ".self_attn.relative_attention_bias",
    ".attention.": ".self_attn.",
    ".feed_forward.intermediate_dense": ".fc1",
    ".feed_forward.output_dense": ".fc2",
}
"""Names of transformers, and those in files of fairseq (wav2vec_small.pt, hubert_base_ls960.pt) and unilm (WavLM)."""


def named_as_fairseq(name: str, is_group_norm: bool) -> str:
    if name.startswith("feature_extractor."):
        name = name.replace(".conv.", ".0.")
        return name.replace(".layer_norm.", ".2." if is_group_norm else ".2.1.")
    if name.startswith("encoder.pos_conv_embed.layers."):
        return name.replace("pos_conv_embed.layers", "pos_conv").replace(".conv.", ".0.")
    if name.startswith("encoder.layers."):
        name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
    for own, theirs in FAIRSEQ.items():
        if own in name:
            return name.replace(own, theirs)
    return name


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-large", "hubert", "data2vec-audio", "wavlm", "wavlm-large"])
def test_weights_in_the_layout_of_fairseq(folders, name, tmp_path):
    """Files as its trainings write them: arguments, and the model with its quantizer, under names of its own."""
    expected = built(folders[name]).state_dict()
    group = MODELS[name][1].get("feat_extract_norm", "group") == "group" and name != "data2vec-audio"
    weights = {named_as_fairseq(n.removeprefix("model."), group): value for n, value in expected.items()}
    assert "feature_extractor.conv_layers.0.0.weight" in weights
    assert "encoder.layers.1.self_attn_layer_norm.weight" in weights
    weights |= {"quantizer.vars": torch.zeros(1, 4, 2), "final_proj.weight": torch.zeros(2, 2)}
    torch.save({"args": Namespace(arch="wav2vec2"), "model": weights}, tmp_path / "fairseq.pt")
    encoder = built(folders[name], loaded=False)
    report = load_weights(encoder, tmp_path / "fairseq.pt")
    assert not differs(encoder, expected)
    assert not report.missing
    assert len(report.unexpected) == 2


def test_weights_of_another_size_are_refused(folders, tmp_path):
    options = WAVES | {"hidden_size": 48, "num_hidden_layers": 3}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**options)).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="does not fit"):
        load_weights(built(folders["wav2vec2"], loaded=False), tmp_path)


def test_preprocessing_is_that_of_the_model(folders, tmp_path):
    options = {"model": str(folders["wav2vec2"])}
    cls = TransformersAudio.variant(options)
    with pytest.raises(RecipeError, match="at 16000 Hz, and the modality gives 8000 Hz: set sample_rate"):
        cls(modality(sample_rate=8000), **options)
    with pytest.raises(RecipeError, match="set channels to 1"):
        cls(modality(channels=2), **options)
    with pytest.raises(RecipeError, match="no class token"):
        cls(modality(), pool="prefix", **options)
    with pytest.raises(RecipeError, match="leave out max_length"):
        cls(modality(), max_length=64, **options)
    loud, quiet = batch_of(LENGTHS), batch_of(LENGTHS)
    loud = loud.with_values(loud.values * 7 + 0.1)
    normalized, raw = built(folders["wav2vec2"]), built(folders["wavlm"])
    torch.testing.assert_close(normalized(loud).pooled, normalized(quiet).pooled, rtol=1e-3, atol=1e-4)
    assert (raw.token_targets(loud) - raw.token_targets(quiet)).abs().max() > 0.1
    with pytest.raises(RecipeError, match="takes waveforms"):
        normalized(AudioModality().front_end(quiet))


def test_folders_that_cannot_serve_are_refused_in_a_sentence(folders, tmp_path):
    with pytest.raises(RecipeError, match="save_pretrained wrote"):
        TransformersAudio.variant({"model": str(tmp_path)})
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="is a bert; the audio encoder 'transformers' serves wav2vec2"):
        TransformersAudio.variant({"model": str(tmp_path)})
    transformers.HubertConfig(**WAVES, conv_pos_batch_norm=True).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="batch norm before its position convolution"):
        built(tmp_path)


def test_older_versions_of_the_library_serve_waveforms_alone(folders, monkeypatch):
    monkeypatch.setattr(transformers_folder, "version", lambda name: "4.50.3")
    built(folders["wavlm"])
    for name in ("wav2vec2-bert", "whisper", "ast"):
        with pytest.raises(RecipeError, match=r"needs transformers 5 or newer, and 4\.50"):
            built(folders[name])


def test_a_folder_without_preprocessing_gets_that_of_its_library(folders, tmp_path, caplog):
    for file in ("config.json", "model.safetensors"):
        shutil.copy(folders["wav2vec2"] / file, tmp_path)
    assert built(tmp_path).prepares.do_normalize
    assert "the preprocessing of Wav2Vec2FeatureExtractor is assumed, at 16000 Hz" in caplog.text


@torch.no_grad()
def test_a_clip_is_as_alone_where_its_library_differs(folders):
    """The group norm of wav2vec 2.0 base goes over time: of the library, a padded clip is another one."""
    encoder, batch = built(folders["wav2vec2"]), batch_of([16000, 4000])
    together = encoder(batch)
    for row, example in enumerate(batch.unpad()):
        alone = encoder(SignalBatch.join([example]))
        torch.testing.assert_close(together.pooled[row], alone.pooled[0], rtol=1e-5, atol=1e-5)
    model = transformers.AutoModel.from_pretrained(folders["wav2vec2"]).eval()
    wave = encoder._waves(batch)
    padded = model(wave, attention_mask=batch.valid.long()).last_hidden_state[1, : int(together.mask[1].sum())]
    assert (padded.mean(0) - together.pooled[1]).abs().max() > 0.01


def test_what_is_masked_is_up_to_the_objective(folders):
    """No SpecAugment, no layer drop, and no weight that no pass uses; the mask token is the model's."""
    encoder = built(folders["wav2vec2"]).train()
    assert encoder.model.config.mask_time_prob > 0
    assert encoder.model.config.layerdrop > 0
    expected = transformers.AutoModel.from_pretrained(folders["wav2vec2"]).masked_spec_embed
    assert torch.equal(encoder.mask_embedding(), expected)
    batch = batch_of([1200, 900, 640])  # SpecAugment of the library raises for fewer than ten frames
    assert torch.equal(encoder(batch).pooled, encoder.eval()(batch).pooled)
    assert "model.masked_spec_embed" not in dict(encoder.named_parameters())
    assert built(folders["ast"]).mask_embedding() is None


@torch.no_grad()
def test_frames_are_told_by_the_samples_at_their_center(folders):
    encoder = built(folders["wav2vec2"])
    targets = encoder.token_targets(batch_of([2000]))
    assert targets.shape == (1, 6, encoder.target_dim) == (1, 6, 320)
    torch.testing.assert_close(targets[0, 2], encoder._waves(batch_of([2000]))[0, 680:1000])


@pytest.mark.parametrize("name", MODELS)
def test_layers_by_depth(folders, name):
    encoder = built(folders[name])
    stack = encoder.layer_stack()
    assert len(stack.blocks) == 2
    is_post_norm = name not in ("ast", "whisper") and not MODELS[name][1].get("do_stable_layer_norm")
    assert (stack.norm is None) == is_post_norm
    seen = []
    hook = stack.blocks[-1].register_forward_hook(lambda module, args, output: seen.append(first_tensor(output)))
    with torch.no_grad():
        features = encoder(batch_of([6000]))
    hook.remove()
    last = seen[0] if stack.norm is None else stack.norm(seen[0])
    torch.testing.assert_close(last[:, stack.prefix :], features.tokens)


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "wav2vec2-bert", "whisper", "ast"])
def test_adapters_run_in_every_block_and_blocks_can_be_computed_again(folders, name):
    batch = batch_of(LENGTHS[:3])
    encoder = built(folders[name])
    names = adapt(encoder, targets="attention", rng=torch.Generator().manual_seed(0))
    assert len(names) >= 8
    plain = encoder(batch).pooled.detach()
    factors = [part for part in encoder.modules() if isinstance(part, Factors)]
    with torch.no_grad():
        for part in factors:
            part.B.normal_()
    encoder.train()
    gradients = []
    for again in (False, True):
        if again:
            checkpoint_blocks({"audio": encoder})
        torch.manual_seed(0)
        encoder.zero_grad()
        features = encoder(batch)
        features.tokens.square().sum().backward()
        gradients.append([part.A.grad.clone() for part in factors])
    assert not torch.allclose(features.pooled, plain, atol=1e-3)
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_spectrograms_are_those_of_the_feature_extractor(folders):
    encoder, batch = built(folders["ast"]), batch_of([20000, 6000, 801, 400, 399])
    made = encoder._spectrograms(batch)
    extractor = encoder.prepares
    for row, clip in zip(made, batch.unpad()[:-1], strict=False):
        expected = extractor(clip[0], sampling_rate=16000, return_tensors="pt").input_values[0]
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made[-1], torch.full_like(made[-1], -extractor.mean / (2 * extractor.std)))
    targets = encoder.token_targets(batch)
    assert encoder.grid == (5, 10)
    patch = made[0].T[5:13, 12:20].flatten()  # row 1 of frequencies, column 2 of times
    torch.testing.assert_close(targets[0, 12], (patch - patch.mean()) / (patch.var(correction=0) + 1e-6).sqrt())


@torch.no_grad()
def test_filter_banks_and_log_mels_are_those_of_other_feature_extractors(folders):
    batch = batch_of([16000, 6000, 801, 560])
    bert, whisper = built(folders["wav2vec2-bert"]), built(folders["whisper"])
    frames, mels = bert._frames(batch), whisper._spectrograms(batch)
    for row, clip in enumerate(batch.unpad()):
        expected = bert.prepares(clip[0], sampling_rate=16000, return_tensors="pt")
        count = int(expected["attention_mask"].sum())
        torch.testing.assert_close(frames[row, :count], expected["input_features"][0, :count], rtol=1e-3, atol=1e-3)
        expected = whisper.prepares(clip[0], sampling_rate=16000, return_tensors="pt").input_features[0]
        torch.testing.assert_close(mels[row], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whisper.token_targets(batch)[1, 3], mels[1, :, 6:8].T.flatten())


@torch.no_grad()
def test_whisper_of_another_length_and_in_the_layout_of_openai(folders, tmp_path):
    whole = built(folders["whisper"])
    shorter = built(folders["whisper"], max_length=40)
    assert torch.equal(shorter.tokenize(batch_of([400])).positions, whole.tokenize(batch_of([400])).positions[:, :20])
    with pytest.raises(RecipeError, match="max_length"):
        built(folders["whisper"], max_length=102)
    names = {
        "self_attn_layer_norm": "attn_ln",
        "final_layer_norm": "mlp_ln",
        "embed_positions.weight": "positional_embedding",
    }
    names |= {"self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key", "self_attn.v_proj": "attn.value"}
    names |= {"self_attn.out_proj": "attn.out", "fc1": "mlp.0", "fc2": "mlp.2", "layers.": "blocks."}
    weights = {}
    for name, value in whole.state_dict().items():
        name = name.replace("model.layer_norm", "model.ln_post").replace("model.", "encoder.")
        for own, theirs in names.items():
            name = name.replace(own, theirs)
        weights[name] = value
    weights["decoder.token_embedding.weight"] = torch.zeros(3, 2)
    torch.save({"dims": {"n_mels": 16}, "model_state_dict": weights}, tmp_path / "tiny.pt")
    encoder = built(folders["whisper"], loaded=False)
    assert load_weights(encoder, tmp_path / "tiny.pt").unexpected == ("model.decoder.token_embedding.weight",)
    assert not differs(encoder, whole.state_dict())


def test_positions_of_spectrograms_of_another_length(folders):
    own = built(folders["ast"])
    shorter, longer = (built(folders["ast"], max_length=length) for length in (32, 120))
    assert (own.grid, shorter.grid, longer.grid) == ((5, 10), (5, 5), (5, 19))
    tables = [e.tokenize(batch_of([400])).positions[0].unflatten(0, e.grid) for e in (own, shorter, longer)]
    assert torch.equal(tables[1], tables[0][:, 3:8])
    low, high = tables[0].amin(1, keepdim=True), tables[0].amax(1, keepdim=True)
    assert ((tables[2] >= low - 1e-6) & (tables[2] <= high + 1e-6)).all()
    torch.testing.assert_close(tables[2][:, 0], tables[0][:, 0])
    for encoder in (shorter, longer):
        check_kept_tokens(encoder, batch_of(LENGTHS))


def test_class_tokens_and_patches_are_pooled(folders):
    batch = batch_of(LENGTHS)
    auto, prefix, mean = (built(folders["ast"], pool=pool)(batch).pooled for pool in ("auto", "prefix", "mean"))
    assert torch.equal(auto, prefix)
    torch.testing.assert_close(mean, built(folders["ast"])(batch).tokens.mean(1))
    assert not torch.allclose(auto, mean, atol=1e-3)
