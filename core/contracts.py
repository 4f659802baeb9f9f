"""What a plugin writes: Modality, ViewGenerator, Encoder, Objective, Source, Evaluator.

Each is a small abstract class. Constructor arguments are the options of a recipe: they are keyword arguments with
types, validated against the signature, and the `Args:` section of the class docstring is their help text. Whatever
belongs to a modality (its encoders and view generators) receives that modality as its first argument.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.errors import Location
from sensorium.feature_table import FeatureTable
from sensorium.types import (
    Batch,
    Features,
    Needs,
    Outcome,
    Record,
    TrainingSize,
    View,
    take_tokens,
    valid_tokens,
)

if TYPE_CHECKING:
    from PIL.Image import Image


class Modality(ABC):
    """How a raw value is decoded to an example, and how examples become a batch.

    A modality may learn from the train part of the data (`fit`: a vocabulary, a scale); what it learned is its
    `state`, which the run stores and every later use of the run restores.
    """

    preview_cell: ClassVar[int] = 128
    """Side in pixels at which galleries draw its previews: 256 where they have words to be read."""
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

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn what decoding needs from the raw values of the train part; by default, nothing."""

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

    @property
    def has_preview(self) -> bool:
        """Whether the modality has previews: both `preview` and `examples`."""
        return type(self).preview is not Modality.preview and type(self).examples is not Modality.examples

    def examples(self, batch: Batch) -> list[Any]:
        """Split a batch, on any device, into examples that `preview` can draw."""
        raise NotImplementedError(f"{type(self).__name__} cannot split a batch into examples.")

    @property
    def baseline_description(self) -> str:
        """What `baseline_features` are, as tables say it below the baseline row."""
        return ""

    def baseline_features(self, batch: Batch) -> np.ndarray | None:
        """Return baseline features float32 (B, D) of a batch, for the baseline row of tables; None for none."""
        return None


class ViewGenerator(ABC):
    """Makes views of a batch, batched, on the batch's device."""

    views: int = 1
    """Number of views it returns, negative views aside."""
    negative_views: int = 0
    """Number of further views after those, marked `is_negative`: corrupted, negatives of their own records."""
    target: str | None = None
    """Name of the target of its views; None for views without a target."""
    classes: int | None = None
    """Number of classes of the target, when it is a class of each record, int64 (B,), or of each token; else None."""
    per_token: bool = False
    """Whether the target is a class of each token of a token encoder, int64 (B, T), -100 (ignored index) for none."""
    info: tuple[str, ...] = ()
    """Entries of `View.info` that its views have and objectives use."""

    @abstractmethod
    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return `views` views of the batch, and `negative_views` negative ones after them.

        Parameters are drawn per example from `rng`, a generator on the batch's device; the input is not
        modified, and no global generator is used.
        """

    def stage(self, example: Any, rng: torch.Generator) -> Any:
        """Change one decoded example before collation, on the loader worker; by default, not at all.

        For what must run before examples have one shape, such as a crop of a large photograph. `rng` is a CPU
        generator seeded from (seed, epoch, record id). A generator that overrides it cannot be fed from a cache.
        """
        return example


def has_target(generator: ViewGenerator | type[ViewGenerator], target: str) -> bool:
    """Return whether the views of a generator, or of a class of generators, have the target that an objective needs."""
    return generator.target == target or (target == "class" and generator.classes is not None)


@dataclass
class Tokens:
    """An encoder's input as tokens: the embedding layer's output, before any other layer.

    Args:
        x: float (B, T, D), embedded tokens *without* position.
        positions: float (B, T, D) or (1, T, D), position embeddings, which the encoder adds.
        mask: bool (B, T), padding mask: True where a token is valid; None when all are.
    """

    x: Tensor
    positions: Tensor
    mask: Tensor | None = None

    def valid(self) -> Tensor:
        """Return which tokens are valid, bool (B, T)."""
        return valid_tokens(self.x, self.mask)

    def take(self, index_BK: Tensor) -> Self:
        """Return the tokens at `index_BK`, int64 (B, K), alone, with their positions."""
        parts = {"x": self.x, "positions": self.positions} | ({} if self.mask is None else {"mask": self.mask})
        return replace(self, **{name: take_tokens(part, index_BK) for name, part in parts.items()})


class Encoder(nn.Module, ABC):
    """A module that turns a canonical batch into features. `dim` is D, the width of its pooled features."""

    dim: int
    channels_last: bool = False
    """Whether its 2-D convolutions are faster on a CPU too, as they are on CUDA, with channels in the last axis."""
    libraries: tuple[str, ...] = ()
    """Libraries of which it is a tower that their exporters can write, such as "open_clip"."""

    @property
    def token_dim(self) -> int:
        """Width of its tokens, where it returns any: `dim`, unless pooling concatenates several vectors."""
        return self.dim

    def tower_of(self, library: str, head_ED: Tensor) -> Mapping[str, Any]:
        """Return the encoder as a tower of a model of one of its `libraries`, as the exporter to it asks for.

        Args:
            library: one of `libraries`.
            head_ED: a linear map (E, D) behind the encoder, E = `dim`, to be folded into the tower's last projection.
        """
        raise NotImplementedError(f"{type(self).__name__} is no tower of {library}.")

    @abstractmethod
    def forward(self, batch: Batch) -> Features:
        """Encode a batch (B examples) to features with pooled (B, D)."""


class TokenEncoder(Encoder):
    """An encoder that exposes its tokens: masked, predictive and self-distilling objectives are written against it."""

    target_dim: int
    """P, the width of one token's reconstruction target."""
    is_causal: bool = False
    """Whether a token attends to itself and the tokens before it only."""
    grid: tuple[int, int] | None = None
    """Rows and columns of its tokens, where they lie on a grid, row by row; None where they are a sequence or a set."""

    @abstractmethod
    def tokenize(self, batch: Batch) -> Tokens:
        """Split a batch into T tokens each, embedded to (B, T, D)."""

    @abstractmethod
    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or the kept subset of them.

        Args:
            tokens: what `tokenize` returned, possibly with `x` replaced at masked tokens.
            keep: int64 (B, K), indices of the tokens to encode; None encodes all T. The returned features
                have K tokens, in the order of `keep`.
        """

    def token_mixer(self) -> nn.Module | None:
        """Return a new module (tokens -> float (B, T, D)) that mixes tokens along the structure of the input once.

        A graph encoder returns one layer of its own kind. None: the structure of tokens is their positions alone.
        """
        return None

    @abstractmethod
    def token_targets(self, batch: Batch) -> Tensor:
        """Return the reconstruction targets of tokens: float (B, T, P), or int64 (B, T) class ids."""

    def forward(self, batch: Batch) -> Features:
        """Encode every token of a batch."""
        return self.encode_tokens(self.tokenize(batch))


class Encoders(Mapping[str, Encoder]):
    """The encoders of a learner by modality name; what an objective builds its heads and teachers from.

    Args:
        encoders: modality name -> encoder.
        classes: number of classes of the views' target; None for views without a class target.
        views: number of views of each record.
    """

    def __init__(self, encoders: Mapping[str, Encoder], classes: int | None = None, views: int = 1) -> None:
        self._encoders, self.classes, self.views = dict(encoders), classes, views

    def __getitem__(self, name: str) -> Encoder:
        return self._encoders[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoders)

    def __len__(self) -> int:
        return len(self._encoders)

    @property
    def single(self) -> Encoder:
        """The only encoder, for objectives of one modality."""
        (encoder,) = self._encoders.values()
        return encoder


class Encode(ABC):
    """Runs the encoders for an objective; each call picks the encoder of the view's modality.

    A teacher is a copy of the encoders: `encode.using(teacher)` gives the same calls through the copies.
    """

    @abstractmethod
    def __call__(self, views: Sequence[View]) -> list[Features]:
        """Return the features of each view; adjacent views of one modality and shape are encoded as one batch."""

    @abstractmethod
    def tokenize(self, view: View) -> Tokens:
        """Return the tokens of a view, before encoding (token encoders only)."""

    @abstractmethod
    def encode_tokens(self, view: View, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens of a view, or the subset `keep` (B, K) of them (token encoders only)."""

    @abstractmethod
    def token_targets(self, view: View) -> Tensor:
        """Return the reconstruction targets of a view's tokens: (B, T, P) or class ids (B, T)."""

    @abstractmethod
    def using(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> Encode:
        """Return the same calls through other encoders, by modality name."""


class Objective(nn.Module, ABC):
    """Owns heads, teachers and queues, and turns views into a loss.

    It is written once against views, features, tokens and targets, and names no modality.
    """

    needs: ClassVar[Needs] = Needs()
    """What it asks of the rest of a recipe, such as `Needs(views=2)`; checked before any data is read."""
    auto: ClassVar[Mapping[str, Callable[[TrainingSize], Any]]] = {}
    """Option name -> its value for a size of training, when a recipe leaves it out or says `auto`."""
    modality_pairs: Sequence[tuple[str, str]] = ()
    """Pairs of modalities that it contrasts, once built; a pair that no record has both of is told."""
    remedy: ClassVar[str | None] = None
    """What to change first when features collapse, as the collapse alarm says it: "raise objective.momentum"."""

    @abstractmethod
    def build(self, encoders: Encoders) -> None:
        """Make heads (and teachers) from the encoders; `encoders.single.dim` is the width of features."""

    @abstractmethod
    def forward(self, views: Any, encode: Encode) -> Outcome:
        """Return the loss of one batch.

        Args:
            views: a list of views, or modality name -> list of views when `needs.modalities` is "many"; a modality
                that no record of the batch has comes with views of no rows, as on a rank whose records lack it.
            encode: runs the encoders: `encode(views)` gives the features of each.
        """

    def score(self, views: Any, encode: Encode) -> dict[str, Tensor] | None:
        """Return the likelihood of each of B held-out records, or None for objectives that define none.

        "nats" (B,): the negative log-likelihood of the record; "tokens" (B,): its number of tokens; "uniform"
        (B,): its negative log-likelihood under a uniform distribution.
        """
        return None

    def logit_parameters(self) -> dict[str, Tensor]:
        """Return the learned parameters that turn cosines of pairs into logits, as exporters write them.

        "log_scale", scalar: log of the factor of cosines; "bias", scalar: what is added. Empty where there are none.
        """
        return {}

    def embed(self, modality: str, pooled: Tensor) -> Tensor:
        """Map pooled features (B, D) of one modality to the space in which the objective compares; default, as is."""
        return pooled

    @torch.no_grad()
    def joint_map(self, modality: str, encoder: Encoder) -> Tensor | None:
        """Return `embed` of one modality as a matrix (E, D), E = `encoder.dim`; None where it is not linear.

        Args:
            modality: the modality.
            encoder: its encoder, whose device and dtype the matrix has.
        """
        weight = next(encoder.parameters())
        eye = torch.eye(encoder.dim, device=weight.device, dtype=weight.dtype)
        map_ED = self.embed(modality, eye)
        probe = torch.linspace(-1, 2, 3 * encoder.dim, device=weight.device, dtype=weight.dtype).reshape(3, -1)
        is_linear = torch.allclose(self.embed(modality, probe), probe @ map_ED, rtol=1e-3, atol=1e-3)
        return map_ED if is_linear else None

    def after_step(self, progress: float) -> None:
        """Update teachers, queues and clamps after an optimizer step; `progress` runs from 0 to 1."""


class Source(ABC, Sequence[Record]):
    """Where records come from: a sequence of them, read lazily.

    `source[i]` may read a file. A value that cannot be read stands as `Unreadable` among the others; when none of a
    record can, it raises `BadSample`. `key` must be cheap.
    """

    root: str = "."
    """The folder that relative paths among the raw values start from."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} records; fields: {', '.join(self.fields)})"

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of the fields in which records may have raw values."""

    @abstractmethod
    def key(self, index: int) -> Record:
        """Return the record at `index` without its values: id, labels, split, group and time only."""

    def present(self, field: str) -> np.ndarray | None:
        """Return which of the N records have a value in a field, bool (N,), or None when only decoding shows it."""
        return None

    def locate(self, index: int, field: str) -> Location | None:
        """Return where the value of a record in a field is found again, such as a row of a table; None if unknown.

        For a value that is a path, the path itself is reported.
        """
        return None

    def notes(self) -> list[str]:
        """Return sentences that a user must read before a training: how the data are understood, and what is ignored.

        Such are the columns that became channels; by default, nothing is said.
        """
        return []


class Evaluator(ABC):
    """Measures frozen features: fits on the train part, reports on the test part.

    It never sees the test part before its choices are made: `fit` receives the train part alone. Which records are
    which part is the protocol's business, not its own; it is copied afresh for every pair of parts.

    Before a training it is run once, on the keys of a sample of the records with random features of a few columns: what
    it refuses there is an error before the first step.
    """

    space: Literal["features", "embedding", "scores"] = "features"
    """"features" asks for the encoder's pooled features, "embedding" for the space the objective compares in, "scores"
    for what `Objective.score` returns, each score a column (N, 1) under its name."""
    protocol: str | Mapping[str, Any] = "given"
    """How the parts are cut: "given", or a protocol with options, `{"name": "kfold", "folds": 10}`."""
    label: str | None = None
    """The label column that it predicts, by whose classes folds are stratified; None takes the only one."""
    selection: str = "nothing is selected"
    """The rule by which it chooses its own settings, as tables print it."""
    is_pairwise: bool = False
    """Whether its metrics "A->B NAME" are shown as a matrix for each NAME, A in rows and B in columns."""
    needs_contents: bool = False
    """Whether it asks for `FeatureTable.contents`."""
    seed: int = 0
    """Seed of its random draws; set before `fit`, another one for each repetition of a protocol."""
    device: torch.device = torch.device("cpu")
    """Where it multiplies matrices: that of the measured models; set before `fit`."""

    def prepare(self, embed: Callable[..., Mapping[str, Tensor]]) -> None:
        """Receive what embeds raw values of the evaluator's own (class prompts); called once for each model.

        `embed(text=["a photo of a cat"])` gives modality name -> (N, D), in the joint space.
        """

    @abstractmethod
    def fit(self, train: FeatureTable) -> None:
        """Learn and select on the train part."""

    @abstractmethod
    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of the test part, by name; larger is better unless the name ends in " ↓"."""

    @abstractmethod
    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics at chance level, under the same names; metrics that have no chance level are left out.

        Called after `fit`: the best constant prediction may depend on the train part.
        """

    def references(self, test: FeatureTable) -> dict[str, dict[str, float]]:
        """Return further rows below chance, of predictions without features: name, such as "last value" -> metrics.

        Called after `measure`.
        """
        return {}

    def notes(self) -> list[str]:
        """Return, after `measure`, what a reader must know beside the metrics: what was selected, what excluded."""
        return []

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return, after `measure`, what was predicted for which record: columns of one length, empty where nothing is.

        "id", the record's; "label" and "prediction"; "score NAME", float, for what was compared, such as each class;
        and what else a reader wants beside them. They are written to a Parquet file beside the table.
        """
        return {}

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the metrics of predictions, of one fold or of several joined; empty where they do not suffice."""
        return {}

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return class, or whatever else the records are counted by, such as a task -> metrics; empty without any."""
        return {}

    def remarks(self, predictions: Mapping[str, np.ndarray]) -> list[str]:
        """Return sentences that stand below the table: how many records of which class were measured, if too few."""
        return []

    def plot(self, predictions: Mapping[str, np.ndarray]) -> Image | None:
        """Return a plot of the predictions of one model, such as scores over time, or None; written as PNG."""
        return None
