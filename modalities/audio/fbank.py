"""Log-mel filter banks of Kaldi, for pretrained models that were trained on them.

Letters: B clips, S samples, T frames, F bands, W samples of a window.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks

from sensorium import at_least_one_row, device_constant

Window = Literal["hanning", "povey"]
PREEMPHASIS = 0.97
LOWEST = 20.0
"""Lowest frequency of the bands, in Hz; the highest is half the sample rate."""


def kaldi_fbank(x_BS: Tensor, sample_rate: int, bands: int, frames: int, window_type: Window = "hanning") -> Tensor:
    """Return the first T frames of log-mel filter banks, float32 (B, T, F), as `torchaudio.compliance.kaldi.fbank`.

    Windows of 25 ms every 10 ms, without their mean, with pre-emphasis; no dither, and nothing beyond the ends of a
    clip: how many frames are whole is `whole_frames`.

    Args:
        x_BS: float (B, S), waveforms, full scale 1.
        sample_rate: in Hz.
        bands: F, number of mel bands, > 3.
        frames: T.
        window_type: "hanning", or Kaldi's own "povey".
    """
    window, hop = window_and_hop(sample_rate)
    needed = (frames - 1) * hop + window
    with torch.autocast(x_BS.device.type, enabled=False):  # half precision lacks the range of power spectra
        padded_BS = F.pad(x_BS.float(), (0, max(0, needed - x_BS.shape[1])))[:, :needed]
        windows_BTW = at_least_one_row(padded_BS).unfold(1, window, hop)
        windows_BTW = windows_BTW - windows_BTW.mean(2, keepdim=True)
        before_BTW = torch.cat([windows_BTW[..., :1], windows_BTW[..., :-1]], dim=2)
        windows_BTW = (windows_BTW - PREEMPHASIS * before_BTW) * _window(x_BS.device, window, window_type)
        length = 2 ** (window - 1).bit_length()
        power_BTN = torch.fft.rfft(windows_BTW, length).abs().square()
        energies_BTF = power_BTN @ _bands(x_BS.device, bands, length, sample_rate)
        return energies_BTF.clamp(min=torch.finfo(torch.float32).eps).log()[: len(x_BS)]


def window_and_hop(sample_rate: int) -> tuple[int, int]:
    """Return the samples of a window and those from one to the next."""
    return sample_rate * 25 // 1000, sample_rate * 10 // 1000


def whole_frames(lengths_B: Tensor, sample_rate: int) -> Tensor:
    """Return how many windows lie within clips of these lengths in samples, int64 (B,)."""
    window, hop = window_and_hop(sample_rate)
    return ((lengths_B - window) // hop + 1).clamp(min=0)


@device_constant
def _window(window: int, window_type: Window) -> Tensor:
    """Return the symmetric Hann window or its power of .85, float32 (W,)."""
    hann_W = torch.hann_window(window, periodic=False)
    return hann_W if window_type == "hanning" else hann_W**0.85


@device_constant
def _bands(bands: int, length: int, sample_rate: int) -> Tensor:
    """Return the weights of frequency bins in mel bands, float32 (bins, F)."""
    weights_FN, _ = get_mel_banks(bands, length, float(sample_rate), LOWEST, 0.0, 100.0, -500.0, 1.0)
    return F.pad(weights_FN, (0, 1)).T.contiguous()
