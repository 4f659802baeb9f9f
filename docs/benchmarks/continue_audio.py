"""Continuing on recordings: a small transformer that was pretrained on musical notes, continued on spoken digits.

    python docs/benchmarks/continue_audio.py recordings --runs runs/continue-audio --seeds 3

`recordings` has the files of the Free Spoken Digit Dataset, {digit}_{speaker}_{take}.wav. For each seed one encoder is
pretrained on notes, and then continued on nine tenths of the recordings without their labels, at three learning rates;
beside it the same training starts from random weights. All runs on recordings have the same number of steps. A linear
probe learns the digits of all speakers but one, for each in turn; the notes' instruments, on which the encoder was
pretrained, are the reference set: what a run forgot. A run that is in the folder is not trained again, and one that
was stopped goes on.
"""

from __future__ import annotations

RECIPE = "spoken-digits"
SMALL = (
    "modalities.audio.encoder={name: spectrogram-transformer, patch: [40, 2], width: 64, depth: 3, heads: 4, parts: 8}",
    "objective={name: mae, mask_ratio: 0.5, width: 64, depth: 1}",
    "evaluate.evaluators={}",
    "checkpoint.every=1000",
)
NOTES = (
    "data.source={name: musical-notes, count: 4000}",
    "modalities.audio.modality.trim=null",
    "train={epochs: null, steps: 1500}",
)
STEPS = "train={epochs: null, steps: 300}"
STARTS = {
    "from scratch, lr 2e-3": (),
    "continued, lr 2e-3": ("weights",),
    "continued, lr 2e-4": ("weights", "optimizer.lr=2e-4"),
    "continued, lr 2e-4, layer decay .75": ("weights", "optimizer.lr=2e-4", "modalities.audio.layer_decay=0.75"),
}
"""What is trained on the recordings, by its row; `weights` stands for those of the run on notes."""
DIGITS = (
    "linear: {label: digit, protocol: {name: leave-one-group-out, by: speaker}, standardize_by: speaker, Cs: [0.01]}"
)
INSTRUMENTS = "linear: {label: instrument, Cs: [1.0]}"
