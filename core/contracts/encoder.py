"""How a batch becomes features: encoders, those that expose their tokens, and what objectives call."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from sensorium.errors import PluginError, RecipeError
from sensorium.types import Batch, Features, View, take_tokens, valid_tokens


@dataclass
class Tokens:
    """An encoder's input as tokens: the embedding layer's output, before any other layer.

    Args:
        x: float (B, T, D), embedded tokens *without* position.
        positions: float (B, T, D) or (1, T, D), position embeddings, which the encoder adds, and decoders are told
            places by. One that adds none (rotary, relative or convolutional positions) gives fixed ones for decoders.
        mask: bool (B, T), padding mask: True where a token is valid; None when all are. An objective may hide further
            tokens by it, so that records show different numbers of tokens.

    A subclass may hold further tensors (B, T), (B, T, D) or (1, T, D), such as coordinates.
    """

    x: Tensor
    positions: Tensor
    mask: Tensor | None = None

    def valid(self) -> Tensor:
        """Return which tokens are valid, bool (B, T)."""
        return valid_tokens(self.x, self.mask)

    def take(self, index_BK: Tensor) -> Self:
        """Return the tokens at `index_BK`, int64 (B, K), alone, with their positions."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        taken = {name: take_tokens(part, index_BK) for name, part in parts.items() if isinstance(part, Tensor)}
        return replace(self, **taken)

    def repeat(self, copies: int) -> Self:
        """Return `copies` copies of every record's tokens, copy after copy: row c x B + b is copy c of record b.

        A subclass with tensors that do not have the B records along their first axis repeats these itself.
        """
        if copies == 1:
            return self
        count = len(self.x)
        of_records = {f.name: part for f in fields(self) if _has_rows(part := getattr(self, f.name), count)}
        return replace(self, **{name: torch.cat([part] * copies) for name, part in of_records.items()})

    def first(self, count: int) -> Self:
        """Return the first `count` tokens of each record alone."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: part[:, :count] for name, part in parts.items() if isinstance(part, Tensor)})


def _has_rows(part: Any, count: int) -> bool:
    """Return whether a field of tokens is a tensor with a row for each of `count` records."""
    return isinstance(part, Tensor) and len(part) == count


@dataclass(frozen=True)
class LayerStack:
    """The layers of an encoder by depth; whatever of it is in neither list lies before them, such as its embeddings.

    Args:
        blocks: its residual blocks, in the order in which tokens pass them, each once; the first tensor of what each
            returns is float (B, prefix + T, D).
        behind: what follows the last block: final norm, pooling, projection; modules, or bare parameters.
        norm: the final norm of tokens, one of `behind`; None where there is none.
        prefix: number of class and register tokens in front of the others, a class token first.
        tokens_of: makes tokens (B, T, D) and their mask, bool (B, T) or None, of what a block returns and the features
            of the pass; None where that is tokens already, whose mask is that of the features.
    """

    blocks: Sequence[nn.Module]
    behind: Sequence[nn.Module | nn.Parameter] = ()
    norm: nn.Module | None = None
    prefix: int = 0
    tokens_of: Callable[[Any, Features], tuple[Tensor, Tensor | None]] | None = None

    def __post_init__(self) -> None:
        blocks, behind = [id(block) for block in self.blocks], {id(part) for part in self.behind}
        if len(set(blocks)) < len(blocks) or behind & set(blocks):
            raise PluginError("A LayerStack names a layer twice: each is in `blocks` or in `behind`, once.")
        if self.norm is not None and all(module is not self.norm for module in self.modules_behind()):
            raise PluginError("The norm of a LayerStack is not in `behind`: name it there too, it follows the blocks.")

    def parameters_behind(self) -> Iterator[nn.Parameter]:
        """Iterate over the parameters of what follows the last block."""
        for part in self.behind:
            yield from (part,) if isinstance(part, nn.Parameter) else part.parameters()

    def modules_behind(self) -> Iterator[nn.Module]:
        """Iterate over the modules of what follows the last block, those inside them included."""
        for part in self.behind:
            yield from () if isinstance(part, nn.Parameter) else part.modules()


class Encoder(nn.Module, ABC):
    """A module that turns a canonical batch into features. `dim` is D, the width of its pooled features.

    Its constructor makes random weights, always; those that a recipe starts from are loaded afterwards.
    """

    dim: int
    channels_last: bool = False
    """Whether its 2-D convolutions are faster on a CPU too, as they are on CUDA, with channels in the last axis."""
    is_sequence: bool = True
    """Whether its tokens, if it returns any, may follow each other in time: False where several are of one time."""
    grid: tuple[int, int] | None = None
    """Rows and columns of its tokens, where they lie on a grid, row by row; None where they are a sequence or a set."""
    libraries: tuple[str, ...] = ()
    """Libraries of which it is a tower that their exporters can write, such as "open_clip"."""
    lacks: tuple[str, ...] = ()
    """Weights of its own that a file may lack, by name or pattern (`fnmatch`), such as a mask token."""
    ignores: tuple[str, ...] = ()
    """Weights of a file, after `convert_weights`, that it has no use for, likewise, such as a classifier."""

    @classmethod
    def variant(cls, options: Mapping[str, Any]) -> type[Encoder]:
        """Return the class that serves these options: itself, or one with the same options that has tokens, say.

        Args:
            options: of a recipe, checked; those that are left out have their defaults.
        """
        return cls

    @classmethod
    def published_weights(cls, options: Mapping[str, Any]) -> str | None:
        """Return where weights for these options are published, as "hub:NAME", for errors; None where none are known.

        Args:
            options: of a recipe, checked; those that are left out have their defaults.
        """
        return None

    @property
    def own_weights(self) -> str | None:
        """The file or folder of weights that its options name, which the tower's `weights` override; None without."""
        return None

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights in a layout of the field under its own names, those of its `state_dict`.

        Names that it does not know stay as they are: they are listed, and an error unless `ignores` has them.

        Args:
            weights: as a file has them.

        Raises:
            RecipeError: for weights of another architecture, or that were made for other preprocessing.
        """
        return dict(weights)

    def layer_stack(self) -> LayerStack | None:
        """Return its layers by depth, for rates by layer, freezing and probes of layers; None where it has no such."""
        return None

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

    @abstractmethod
    def tokenize(self, batch: Batch) -> Tokens:
        """Split a batch into T tokens each, embedded to (B, T, D)."""

    @abstractmethod
    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or the kept subset of them.

        Args:
            tokens: what `tokenize` returned, possibly with `x` replaced at masked tokens.
            keep: int64 (B, K), indices of the tokens to encode; None encodes all T. The returned features
                have K tokens, in the order of `keep`, and their mask: what `tokens.mask` hides among them changes no
                other token and no pooled feature, and a record of which nothing is left has finite features.
        """

    def mask_embedding(self) -> Tensor | None:
        """Return its own pretrained mask token (D,), from which objectives start theirs; None where it has none."""
        return None

    def token_classifier(self) -> nn.Module | None:
        """Return a new module, tokens (B, T, D) to logits (B, T, P), that classifies tokens as it was pretrained to.

        Objectives that predict class ids start from it; None where there is none, and a head is random.
        """
        return None

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
        descriptors: modality name -> P, the number of descriptors of a record; empty where views come without.
        teachers: modality name -> its frozen teacher, where it has one. They are no modules of the objective, which
            keeps the mapping as it is: `encode.using(teachers)(views)`, without a gradient, gives their features.
        sharing: modality name -> the name of the modality whose encoder it has; default its own.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        classes: int | None = None,
        views: int = 1,
        descriptors: Mapping[str, int] | None = None,
        teachers: Mapping[str, Encoder] | None = None,
        sharing: Mapping[str, str] | None = None,
    ) -> None:
        self._encoders, self.classes, self.views = dict(encoders), classes, views
        self.descriptors = dict(descriptors or {})
        self.teachers: Mapping[str, Encoder] = {} if teachers is None else teachers
        self.sharing = dict(sharing or {name: name for name in encoders})

    def __getitem__(self, name: str) -> Encoder:
        return self._encoders[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoders)

    def __len__(self) -> int:
        return len(self._encoders)

    def only(self, names: Sequence[str], classes: int | None, views: int) -> Encoders:
        """Return the encoders of some modalities, whose views have so many classes and are so many."""
        chosen = copy.copy(self)
        chosen._encoders, chosen.classes, chosen.views = {name: self[name] for name in names}, classes, views
        return chosen

    @property
    def single(self) -> Encoder:
        """The only encoder, for objectives of one modality."""
        (encoder,) = self._encoders.values()
        return encoder

    def refuse_causal(self, objective: str) -> None:
        """Raise RecipeError if a token of any encoder attends to none after it."""
        for name, encoder in self.items():
            if isinstance(encoder, TokenEncoder) and encoder.is_causal:
                raise RecipeError(
                    f"The objective '{objective}' predicts tokens from those on both sides, and the encoder "
                    f"{type(encoder).__name__} of '{name}' is causal: set the encoder's causal to false, or choose "
                    "another one."
                )

    def require_causal(self, objective: str) -> None:
        """Raise RecipeError unless a token of the only encoder, a token encoder, attends to none after it."""
        encoder: Any = self.single
        if not encoder.is_causal:
            raise RecipeError(
                f"The objective '{objective}' needs a causal encoder, {type(encoder).__name__} looks ahead: set the "
                "encoder's causal to true, or choose an encoder that has that option; tokens without an order have no "
                "next one, and need an objective of tokens in any order, such as mae."
            )

    def require_sequence(self, objective: str) -> None:
        """Raise RecipeError unless the tokens of the only encoder may follow each other in time."""
        if not self.single.is_sequence:
            raise RecipeError(
                f"The objective '{objective}' wants tokens that follow each other in time, and several tokens of the "
                f"encoder {type(self.single).__name__} are of one time: choose another encoder, or an objective of "
                "tokens in any order, such as mae, or of whole records, such as simclr."
            )


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
    def layers(self, view: View, numbers: Sequence[int]) -> list[Features]:
        """Return the features of a view with the tokens behind some blocks of the encoder, without gradient.

        Args:
            view: B records.
            numbers: of blocks of the encoder's `layer_stack`, counted from 1.

        Raises:
            RecipeError: when the encoder has no such block.
        """

    @abstractmethod
    def using(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> Encode:
        """Return the same calls through other encoders, by modality name."""
