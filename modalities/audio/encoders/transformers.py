"""Audio models of Hugging Face transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium import Encoder
from sensorium.errors import RecipeError
from sensorium.modalities.audio.encoders.transformers_conformer import Wav2Vec2Bert
from sensorium.modalities.audio.encoders.transformers_folder import PretrainedAudio, model_type_of
from sensorium.modalities.audio.encoders.transformers_spectrogram import PretrainedSpectrogramTransformer
from sensorium.modalities.audio.encoders.transformers_waveform import Data2VecAudio, WaveformTransformer, WavLM
from sensorium.modalities.audio.encoders.transformers_whisper import Whisper

FAMILIES: dict[str, type[PretrainedAudio]] = {
    **dict.fromkeys(("wav2vec2", "hubert", "unispeech", "unispeech-sat"), WaveformTransformer),
    "data2vec-audio": Data2VecAudio,
    "wavlm": WavLM,
    "wav2vec2-bert": Wav2Vec2Bert,
    "whisper": Whisper,
    "audio-spectrogram-transformer": PretrainedSpectrogramTransformer,
}
"""By the `model_type` of a config.json, the class that serves it."""


class TransformersAudio(PretrainedAudio):
    """Pretrained audio models of Hugging Face transformers: wav2vec 2.0, HuBERT, WavLM, data2vec, AST, Whisper...

    The folder has a config.json, weights, and the preprocessing: the modality's sample rate must be the model's (16,000
    Hz of all these), its channels 1; waveforms are normalized, and spectrograms computed, as by the model's feature
    extractor. A recipe starts from the folder's weights, or from others that it names with the tower's `weights`, also
    in the layout of torchaudio, fairseq or OpenAI. Features of a clip do not depend on the clips beside it. SpecAugment
    and layer drop are off; dropout is that of the config.json.

    Args:
        model: a folder that `save_pretrained` wrote, or hub:NAME, which is downloaded.
        pool: pooled features: the "mean" of the frames or patches, the mean of class and distillation token
            ("prefix", of AST), or "auto", the family's own: "prefix" of AST, "mean" of the others.
        max_length: number of frames of 10 ms of the spectrograms of AST and Whisper; None is the model's own (1,024 and
            3,000). Positions of AST are the middle of the model's table for shorter ones, and interpolated for longer
            ones; those of Whisper its first ones.
    """

    @classmethod
    def variant(cls, options: Mapping[str, Any]) -> type[Encoder]:
        """Return the class that serves the architecture of a folder.

        Raises:
            RecipeError: when none does.
        """
        kind = model_type_of(options["model"])
        if kind not in FAMILIES:
            raise RecipeError(
                f"The model '{options['model']}' is a {kind}; the audio encoder 'transformers' serves "
                f"{', '.join(FAMILIES)}: choose one of these, or write an encoder (docs: Write a plugin)."
            )
        return FAMILIES[kind]
