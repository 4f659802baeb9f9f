"""Text towers of open_clip.

Letters: B texts, T tokens, K kept tokens, S tokens in a pass, H attention heads, W width of tokens, E of features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from open_clip.model import _build_text_tower
from torch import Tensor, nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens, at_least_one_row
from sensorium.errors import RecipeError
from sensorium.modalities.open_clip import (
    OTHER_PARTS,
    check_layout,
    configuration,
    merge_projection,
    tower_weights,
    weights_of,
)
from sensorium.modalities.text.batch import TextBatch

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


@dataclass
class TextTokens(Tokens):
    """Tokens of texts, and what a tower of open_clip reads off their ids.

    Args:
        is_end: bool (B, T), True at the token by which the tower pools, such as the end of the text.
        is_key: bool (B, T), True where the tower lets others attend to a token.
    """

    is_end: Tensor | None = None
    is_key: Tensor | None = None


class _Sequence(NamedTuple):
    """What passes the blocks: the tokens, and behind them padding and a class token where the tower has these.

    Args:
        x: float (B, S, W).
        places: int64 (B or 1, S), where each stands in a text of full length.
        is_key: bool (B, S), where others may attend to it; None for all that come before.
    """

    x: Tensor
    places: Tensor
    is_key: Tensor | None


class OpenClipText(TokenEncoder):
    """Text tower of any open_clip architecture (Radford et al. 2021; Ilharco et al. 2021), projection included.

    Its weights are random until the tower's `weights` load a file of open_clip or OpenAI, of the whole model or of the
    tower; a folder brings its own. The modality's tokenizer must be that of the architecture, "open_clip:ARCH". Pooled
    features are projected; tokens, behind the last norm, are not, and are `token_dim` wide. A tower that attends to
    padding (SigLIP) does so here, whatever the length of a batch; the features of a text never depend on other texts.
    If the token by which the tower pools is not kept, the last one that is kept takes its place.

    Args:
        model: name of the architecture; `open_clip.list_models()` lists them; or local-dir:PATH, a folder with a
            configuration and weights, as open_clip and `sensorium export --format open-clip` write it; or hub:NAME,
            such a folder, which is downloaded.
    """

    libraries = ("open_clip",)
    ignores = (*OTHER_PARTS, "visual.*", "attn_mask")

    def __init__(self, modality: TextModality, model: str = "ViT-B-32") -> None:
        super().__init__()
        self.model, self.config = model, configuration(model)
        text = self.config["text_cfg"]
        if name := text.get("hf_model_name"):
            raise RecipeError(
                f"The text tower of '{model}' is the model '{name}' of transformers: take the encoder 'transformers', "
                f"with model: PATH or hub:{name}."
            )
        self.tower: Any = _build_text_tower(self.config["embed_dim"], text, self.config.get("quick_gelu", False))
        self._check(modality)
        self.dim = self.config["embed_dim"] if self.tower.text_projection is not None else self.tower.width
        self.target_dim, self.is_causal = self.tower.vocab_size, self.tower.attn_mask is not None
        self._attends_to_padding = not self.is_causal or self.tower.pool_type == "last"
        self._padding = modality.tokenizer.padding

    def _check(self, modality: TextModality) -> None:
        """Check that the modality gives what the tower reads; a tokenizer of transformers may have fewer ids."""
        size, longest = modality.tokenizer.size, self.tower.context_length
        has_own = "hf_tokenizer_name" not in self.config["text_cfg"]
        if size > self.tower.vocab_size or (has_own and size < self.tower.vocab_size) or modality.length > longest:
            raise RecipeError(
                f"The text tower of '{self.model}' reads {longest} tokens of a vocabulary of {self.tower.vocab_size}, "
                f"the modality gives {modality.length} of {size}: set the tokenizer to 'open_clip:{self.model}' and "
                f"the length to at most {longest}."
            )

    @property
    def token_dim(self) -> int:
        """Width of its tokens, before the projection."""
        return int(self.tower.width)

    @property
    def own_weights(self) -> str | None:
        """The file of weights in the folder that `model` names."""
        return weights_of(self.model)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a whole model or a tower, of open_clip or OpenAI."""
        if weights.keys() == self.state_dict().keys():
            return dict(weights)
        check_layout(self.model, bool(self.config.get("quick_gelu")), weights)
        bare = {name.removeprefix("text."): tensor for name, tensor in weights.items()}
        return tower_weights(bare, "tower.", list(self.tower.state_dict()))

    def tokenize(self, batch: TextBatch) -> TextTokens:
        """Look up the embeddings (B, T, W) of ids, and positions (1, T, W)."""
        tower, ids_BT = self.tower, batch.ids
        positions = tower.positional_embedding[None, : ids_BT.shape[1]]
        is_key_BT = batch.mask
        if tower.cls_emb is not None:  # CoCa's mask of padding is late by one place, and its weights know it so
            is_key_BT = is_key_BT & F.pad(ids_BT != tower.pad_id, (1, -1), value=True)
        return TextTokens(tower.token_embedding(ids_BT), positions, batch.mask, self._is_end(batch), is_key_BT)

    def _is_end(self, batch: TextBatch) -> Tensor:
        """Return True, bool (B, T), at the first of the tokens by which the tower pools; in no text of another kind."""
        ids_BT = batch.ids.where(batch.mask, -1)
        if self.tower.pool_type == "argmax":
            index_B = ids_BT.argmax(1)
        elif self.tower.pool_type == "eos":
            index_B = (ids_BT == self.tower.eos_id).int().argmax(1)
        else:
            return torch.zeros_like(batch.mask)
        return torch.zeros_like(batch.mask).scatter(1, index_B[:, None], True)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or those at `keep` (B, K); causal attention follows their places."""
        kept = tokens if keep is None else tokens.take(keep)
        sequence = self._sequence(tokens, kept, keep)
        b, k = kept.x.shape[:2]
        x_BSW = self.tower.transformer(at_least_one_row(sequence.x), attn_mask=self._attention_mask(sequence))[:b]
        x_BSW = self.tower.ln_final(x_BSW)
        tokens_BKW = x_BSW[:, :k] * kept.valid()[..., None]
        return Features(self._project(self._pool(x_BSW, kept, sequence)), tokens_BKW, kept.mask)

    def _sequence(self, tokens: Tokens, kept: Tokens, keep: Tensor | None) -> _Sequence:
        """Return what passes the blocks for `kept`, which are all of `tokens` or those at `keep`."""
        padding_LW, first_B1 = self._padding_tokens(), tokens.valid().sum(1, keepdim=True)
        x_BKW, valid_BK = kept.x + kept.positions, kept.valid()
        b, k = valid_BK.shape
        places_BL = torch.arange(len(padding_LW), device=x_BKW.device).expand(b, -1)
        is_key_BK = valid_BK
        if isinstance(kept, TextTokens) and kept.is_key is not None:
            is_key_BK = kept.is_key & valid_BK
        if keep is None:  # the text as the library pads it
            x_BKW = torch.where(valid_BK[..., None], x_BKW, padding_LW[:k])
            x_BLW = torch.cat([x_BKW, padding_LW[k:].expand(b, -1, -1)], dim=1)
            if self.tower.cls_emb is None:
                return _Sequence(x_BLW, places_BL[:1], None)
            is_key_BL = F.pad(is_key_BK, (0, len(padding_LW) - k), value=False) | (places_BL == first_B1)
            return self._with_class_token(_Sequence(x_BLW, places_BL, is_key_BL), first_B1)
        if self.tower.cls_emb is not None:
            first_B1W = padding_LW[first_B1.clamp(max=len(padding_LW) - 1)]
            x_BSW, places_BS = torch.cat([x_BKW, first_B1W], dim=1), torch.cat([keep, first_B1], dim=1)
            is_key_BS = torch.cat([is_key_BK, first_B1 < len(padding_LW)], dim=1)
            return self._with_class_token(_Sequence(x_BSW, places_BS, is_key_BS), first_B1)
        if not self._attends_to_padding:
            return _Sequence(x_BKW, keep, valid_BK)
        x_BSW, places_BS = torch.cat([x_BKW, padding_LW.expand(b, -1, -1)], dim=1), torch.cat([keep, places_BL], dim=1)
        return _Sequence(x_BSW, places_BS, torch.cat([valid_BK, places_BL >= first_B1], dim=1))

    def _padding_tokens(self) -> Tensor:
        """Return the padding at each place of a text of full length, with positions: (L, W)."""
        tower = self.tower
        return tower.token_embedding.weight[self._padding] + tower.positional_embedding[: tower.context_length]

    def _with_class_token(self, sequence: _Sequence, first_B1: Tensor) -> _Sequence:
        """Return a sequence with the class token at the very end; it is a key for itself in a text of full length only.

        It attends to the first token of padding, at `first_B1`: CoCa's mask of padding is late by one place.
        """
        tower, end_B1 = self.tower, torch.full_like(first_B1, self.tower.context_length)
        class_W = tower.cls_emb + tower.positional_embedding[-1]
        return _Sequence(
            torch.cat([sequence.x, class_W.expand(len(sequence.x), 1, -1)], dim=1),
            torch.cat([sequence.places, end_B1], dim=1),
            torch.cat([sequence.is_key, first_B1 == end_B1], dim=1),  # type: ignore[list-item]
        )

    def _attention_mask(self, sequence: _Sequence) -> Tensor | None:
        """Return which tokens attend to which, 0 or -inf, (S, S) or (B x H, S, S); None where all attend to all."""
        if sequence.is_key is None:
            s = sequence.x.shape[1]
            return self.tower.attn_mask[:s, :s] if self.is_causal else None
        is_key_BS, places_BS = at_least_one_row(sequence.is_key), at_least_one_row(sequence.places)
        allowed_BSS = is_key_BS[:, None].expand(-1, is_key_BS.shape[1], -1)
        if self.is_causal:
            allowed_BSS = allowed_BSS & (places_BS[:, None] <= places_BS[:, :, None])
        alone_BS1 = ~allowed_BSS.any(2, keepdim=True)  # padding; a softmax of nothing would be nan
        allowed_BSS = allowed_BSS | alone_BS1
        mask_BSS = torch.zeros_like(allowed_BSS, dtype=torch.float32).masked_fill(~allowed_BSS, -torch.inf)
        return mask_BSS.repeat_interleave(self.tower.heads, dim=0)

    def _pool(self, x_BSW: Tensor, kept: Tokens, sequence: _Sequence) -> Tensor:
        """Return the token that stands for each text, (B, W): its class token, its end, its first or its last one."""
        if self.tower.cls_emb is not None:
            return x_BSW[:, -1]
        valid_BK, places_BS = kept.valid(), sequence.places.expand(len(x_BSW), -1)
        k = valid_BK.shape[1]
        if self.tower.pool_type == "last":
            is_key_BS = torch.ones_like(places_BS, dtype=torch.bool) if sequence.is_key is None else sequence.is_key
            score_BS = places_BS.where(is_key_BS, -1)
        elif self.tower.pool_type == "first":
            score_BS = (-places_BS[:, :k]).where(valid_BK, -self.tower.context_length)
        else:
            score_BS = places_BS[:, :k].where(valid_BK, -1)
            if isinstance(kept, TextTokens) and kept.is_end is not None:
                score_BS = score_BS + (kept.is_end & valid_BK) * self.tower.context_length
        return x_BSW.gather(1, score_BS.argmax(1)[:, None, None].expand(-1, 1, x_BSW.shape[2]))[:, 0]

    def _project(self, pooled_BW: Tensor) -> Tensor:
        projection = self.tower.text_projection
        if isinstance(projection, nn.Linear):
            return projection(pooled_BW)
        return pooled_BW if projection is None else pooled_BW @ projection

    def token_targets(self, batch: TextBatch) -> Tensor:
        """Return the ids themselves: int64 (B, T)."""
        return batch.ids

    def layer_stack(self) -> LayerStack:
        """Return its blocks; behind them lie the last norm and the projection."""
        tower = self.tower
        projection = [] if tower.text_projection is None else [tower.text_projection]
        return LayerStack(
            list(tower.transformer.resblocks), [tower.ln_final, *projection], tower.ln_final, tokens_of=_tokens_of
        )

    def tower_of(self, library: str, head_ED: Tensor) -> dict[str, Any]:
        """Return this side of a model of open_clip, with a linear map (E, D) behind the tower folded into it."""
        return {
            "side": "text",
            "width": head_ED.shape[1],
            "config": self.config["text_cfg"],
            "quick_gelu": bool(self.config.get("quick_gelu", False)),
            "weights": merge_projection(self.tower, ("text_projection",), head_ED),
        }


def _tokens_of(made: Tensor, features: Features) -> tuple[Tensor, Tensor]:
    """Return the text's tokens of what a block returned, without padding and class token behind them."""
    mask_BT = features.valid()
    return made[:, : mask_BT.shape[1]], mask_BT
