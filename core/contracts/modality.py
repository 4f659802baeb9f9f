"""How raw values become batches."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sensorium.types import Batch, View

if TYPE_CHECKING:
    from PIL.Image import Image


class Modality(ABC):
    """How a raw value is decoded to an example, and how examples become a batch.

    A modality may learn from the train part of the data (`fit`: a vocabulary, a scale); what it learned is its
    `state`, which the run stores and every later use of the run restores.
    """

    preview_cell: ClassVar[int] = 128
    """Side in pixels at which galleries draw its previews: 256 where they have words to be read."""
    preview_is_caption: ClassVar[bool] = False
    """True when a preview is the value's caption, drawn: a page then shows the caption itself."""
    fits: ClassVar[int | None] = None
    """How many raw values `fit` is shown at most, drawn evenly from the train part; None for all of them."""
    reads_files: ClassVar[bool] = False
    """True when a string among the raw values names a file, relative to the source's `root`."""

    @abstractmethod
    def decode(self, raw: Any) -> Any:
        """Turn one raw value (bytes, a path, an array, a string) into a canonical example.

        Runs on a loader worker. Uses no randomness.

        Raises:
            BadSample: with the reason, when the value cannot be decoded.
        """

    @abstractmethod
    def collate(self, examples: Sequence[Any]) -> Batch:
        """Join decoded examples into one canonical batch on the CPU."""

    def encode(self, example: Any) -> Any:
        """Return a raw value that `decode` turns into this example, and that is quick to decode: see `sensorium pack`.

        Text, bytes, numbers, an array, or a mapping or list of these. Where it may be stored smaller with a loss, the
        method has a keyword `quality`, None or 1 to 100. By default, a modality has no such value. Modalities are not
        fitted when data are packed: one that has this method decodes without what it learns of the train part.

        Args:
            example: what `decode` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} writes no examples.")

    @classmethod
    def has_encoding(cls) -> bool:
        """Return whether the modality writes examples."""
        return cls.encode is not Modality.encode

    def batch_of(self, x: Tensor) -> Batch | None:
        """Return the canonical batch that a tensor of B decoded examples is, on its device.

        Args:
            x: any tensor.

        Returns:
            None for a tensor that is one raw value, and where examples are no tensors of one shape: the default.
        """
        return None

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> Batch:
        """Return a canonical batch of random examples, by which exporters trace encoders and compare them.

        By default there is none, and formats that trace an encoder refuse those of the modality.

        Args:
            count: number of examples.
            is_long: which of two usual lengths the longest example has, where examples have a length.
            rng: on the CPU.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no random batches.")

    def processor(self) -> Any:
        """Return what prepares raw values for a model of Hugging Face transformers, as `decode` does for encoders.

        An object with `save_pretrained`, such as a tokenizer; None, the default, where transformers has no such.
        """
        return None

    @classmethod
    def has_random_batch(cls) -> bool:
        """Return whether the modality makes random batches."""
        return cls.random_batch is not Modality.random_batch

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn what decoding needs from the raw values of the train part, or `fits` of them; by default, nothing."""

    @property
    def is_fitted(self) -> bool:
        """Whether `decode` can be called; False asks the trainer to call `fit` first."""
        return True

    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as plain JSON values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Return sentences that a user must read before a training: what happens to values as these without an error.

        Such are images that are cropped, texts that are cut. Called once, after `fit`; by default, nothing is said.

        Args:
            raws: a sample of the raw values of the train part; what cannot be decoded among them is passed over.
        """
        return []

    def describe(self, raw: Any, example: Any) -> Mapping[str, float | bool | str]:
        """Return facts about one value, by name, as `sensorium check` counts them; by default, none.

        Numbers are sizes and amounts, their unit in the name ("seconds", "sample rate (Hz)"); a bool says whether
        something is done to the value ("cropped"); words are kinds ("format"). It runs on a loader worker.

        Args:
            raw: the raw value.
            example: what `decode` returned for it.
        """
        return {}

    def content(self, raw: Any, example: Any) -> Any:
        """Return what is equal for values of equal content, by which duplicates are found; by default, the example.

        Tensors, arrays, plain values, and containers of them; how a value is stored should not matter.
        """
        return example

    @property
    def extensions(self) -> tuple[str, ...]:
        """Extensions of the files that it reads, in lower case, such as ".png"; empty where only decoding shows it."""
        return ()

    def caption(self, raw: Any) -> str | None:
        """Return a raw value as text, for hits and sheets: a text or path itself, a SMILES; None: nothing to say."""
        return str(raw) if isinstance(raw, str | os.PathLike) else None

    def preview(self, example: Any) -> Image:
        """Draw one example for a report: an RGB image of at most 256 pixels a side.

        Any example that `decode` returns, or one row of a batch as `examples` gives it, can be drawn.
        """
        raise NotImplementedError(f"{type(self).__name__} has no previews.")

    def preview_views(self, batch: Batch, views: Sequence[View]) -> list[list[Image]]:
        """Draw views: for each of them an image of each row, in the order of the batch, from the first.

        A modality overrides it to draw a view in its original: nodes in place, the mask and crop of a series.
        Batch and views, `info` and targets included, are on the CPU.
        """
        return [[self.preview(example) for example in self.examples(view.batch)] for view in views]

    def sound(self, example: Any) -> tuple[np.ndarray, int] | None:
        """Return one example as sound, to be played on a page; by default, a modality has none.

        Args:
            example: what `preview` draws.

        Returns:
            Samples, float32 (C, S) with C 1 or 2 and full scale 1, and their rate in Hz; None for what is no sound.
        """
        return None

    @property
    def has_preview(self) -> bool:
        """Whether the modality has previews: both `preview` and `examples`."""
        return type(self).preview is not Modality.preview and type(self).examples is not Modality.examples

    def examples(self, batch: Batch) -> list[Any]:
        """Split a batch, on any device, into examples that `preview` can draw."""
        raise NotImplementedError(f"{type(self).__name__} cannot split a batch into examples.")

    @property
    def descriptor_names(self) -> tuple[str, ...]:
        """Names of the P descriptors of an example, known once it is fitted; empty: it has none, the default."""
        return ()

    def descriptors(self, example: Any) -> np.ndarray:
        """Return numbers that describe one example, float32 (P,), nan where undefined: targets of a regression.

        Runs on a loader worker, once for each decoded example, before a view is made of it. Uses no randomness.

        Args:
            example: what `decode` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no descriptors.")

    @classmethod
    def has_descriptors(cls) -> bool:
        """Return whether the modality has descriptors: both `descriptors` and their names."""
        return cls.descriptors is not Modality.descriptors and cls.descriptor_names is not Modality.descriptor_names

    @property
    def baseline_description(self) -> str:
        """What `baseline_features` are, as tables say it below the baseline row."""
        return ""

    def baseline_features(self, batch: Batch) -> np.ndarray | None:
        """Return baseline features float32 (B, D) of a batch, for the baseline row of tables; None for none."""
        return None
