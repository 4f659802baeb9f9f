"""What a page shows of one value of any modality, with images and sounds as data URIs: nothing beside the page."""

from __future__ import annotations

import io
import wave
from base64 import b64encode
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchaudio.functional import resample

SECONDS, RATE = 4.0, 16_000
"""Of a sound on a page: its largest length, and its largest sample rate in Hz."""


@dataclass(frozen=True)
class Shown:
    """One value as a page shows it.

    Args:
        words: its caption, the path of its file, or the record's id.
        image: its preview; None where the words are all that there is to see.
        sound: samples, float32 (C, S) with full scale 1, and their rate in Hz; None for what is no sound.
    """

    words: str
    image: Image.Image | None = None
    sound: tuple[np.ndarray, int] | None = None

    def image_uri(self, side: int = 160) -> str | None:
        """Return the image as a small WebP, at most `side` pixels a side, in a data URI."""
        return None if self.image is None else image_uri(self.image, side)

    def sound_uri(self) -> str | None:
        """Return the first seconds of the sound as a WAV in a data URI."""
        return None if self.sound is None else f"data:audio/wav;base64,{b64encode(wav(*self.sound)).decode()}"


def image_uri(image: Image.Image, side: int) -> str:
    """Return an image as WebP in a data URI; small ones keep their pixels, larger ones are reduced to `side`."""
    small, stored = image.convert("RGB"), io.BytesIO()
    small.thumbnail((side, side))
    small.save(stored, format="WEBP", quality=75, method=4)
    return f"data:image/webp;base64,{b64encode(stored.getvalue()).decode()}"


def wav(samples_CS: np.ndarray, rate: int) -> bytes:
    """Return the first `SECONDS` of samples, at `RATE` at most, as a WAV file of 16 bits.

    Args:
        samples_CS: float32 (C, S), full scale 1; what is beyond it is clipped.
        rate: in Hz.
    """
    samples = torch.from_numpy(np.ascontiguousarray(samples_CS[:, : round(SECONDS * rate)]))
    if rate > RATE:
        samples, rate = resample(samples, rate, RATE), RATE
    levels_SC = (samples.clamp(-1, 1) * 32767).round().to(torch.int16).T.contiguous().numpy()
    stored = io.BytesIO()
    with wave.open(stored, "wb") as file:
        file.setnchannels(levels_SC.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(levels_SC.astype("<i2").tobytes())
    return stored.getvalue()
