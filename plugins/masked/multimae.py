"""MultiMAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import (
    CrossAttentionDecoder,
    JointTrunk,
    Needs,
    Objective,
    Outcome,
    RecordRows,
    Tokens,
    View,
    Visible,
    losses,
    masking,
    take_tokens,
    token_indices,
)
from sensorium.errors import RecipeError, check_range


class MultiMAE(Objective):
    """MultiMAE: multi-modal multi-task masked autoencoder (Bachmann et al. 2022), of any modalities, or of one.

    Each encoder sees the visible tokens of its modality alone; one transformer, the trunk, joins what they return, with
    a global token in front. A decoder for each modality predicts its masked tokens from all visible tokens of the
    record: queries at their positions attend to the trunk's tokens, then to each other. How many tokens a modality
    shows is drawn for each record from a Dirichlet distribution over the modalities that it has, so that each is
    predicted from much or little, or nothing but others. The loss is the mean over modalities of the mean over their
    masked tokens: squared error for float targets, cross-entropy for class ids. Records may lack modalities.

    Other than in the paper, tokens pass an encoder of their own before the trunk, and there is no second decoder for
    normalized pixels: image encoders normalize the pixels of each patch by default.

    Args:
        visible: fraction of a record's tokens, over all its modalities, that is visible, in (0, 1); the paper's is 1/6.
            A mask of a view comes first.
        alpha: concentration of the Dirichlet distribution of shares, > 0; below 1, one modality is more often shown
            alone.
        width: width of the trunk.
        depth: number of blocks of the trunk.
        heads: attention heads of trunk and decoders; they divide both widths.
        decoder_width: width of the decoders.
        decoder_depth: number of blocks of each decoder, behind its cross-attention.
    """

    needs = Needs(views=1, modalities="any", tokens=True, info="masked")

    def __init__(
        self,
        visible: float = 0.25,
        alpha: float = 1.0,
        width: int = 256,
        depth: int = 4,
        heads: int = 4,
        decoder_width: int = 128,
        decoder_depth: int = 2,
    ) -> None:
        super().__init__()
        check_range("objective 'multimae'", "(0, 1)", visible=visible)
        check_range("objective 'multimae'", "(0, inf)", alpha=alpha)
        self.visible, self.alpha, self.width, self.depth, self.heads = visible, alpha, width, depth, heads
        self.decoder_width, self.decoder_depth = decoder_width, decoder_depth

    def build(self, encoders):
        """Make the trunk, and a decoder for each modality."""
        self.encoder_names = {name: type(encoder).__name__ for name, encoder in encoders.items()}
        for name, encoder in encoders.items():
            if encoder.is_causal:
                raise RecipeError(
                    f"The encoder {self.encoder_names[name]} of '{name}' is causal, and the objective 'multimae' "
                    "predicts tokens from those on both sides: set the encoder's causal to false, or choose another."
                )
        self.trunk = JointTrunk(encoders, self.width, self.depth, self.heads)
        sizes = self.decoder_width, self.decoder_depth, self.heads
        self.decoders = nn.ModuleDict(
            {
                name: CrossAttentionDecoder(encoder.token_dim, self.width, encoder.target_dim, *sizes)
                for name, encoder in encoders.items()
            }
        )

    def forward(self, views, encode):
        """Encode what is visible of each record, predict what is masked."""
        seen = {name: of_modality[0] for name, of_modality in views.items()}
        rows, tokens = RecordRows(seen), {name: encode.tokenize(view) for name, view in seen.items()}
        masked, most = self._masks(seen, tokens, rows)
        visible = {
            name: self._visible(view, tokens[name], masked[name], most[name], encode) for name, view in seen.items()
        }
        context_BSW, context_mask_BS = self.trunk(visible, rows)
        loss, each = losses.multimodal_reconstruction(
            {name: self._decode(name, tokens[name], context_BSW, context_mask_BS, rows) for name in seen},
            {name: encode.token_targets(view) for name, view in seen.items()},
            masked,
        )
        logs = {f"{name}_loss": of_modality.detach() for name, of_modality in each.items()}
        return Outcome(loss, logs, features={"records": context_BSW[:, 0].detach()})

    def predict_tokens(self, views, encode, sources, target):
        """Predict all tokens of one modality from those of others, which are shown in full."""
        seen = {name: views[name][0] for name in (*sources, target)}
        rows, tokens = RecordRows(seen), {name: encode.tokenize(view) for name, view in seen.items()}
        shown = {name: torch.zeros_like(tokens[name].valid()) for name in sources}
        visible = {
            name: self._visible(seen[name], tokens[name], masked_NT, masked_NT.shape[1], encode)
            for name, masked_NT in shown.items()
        }
        return self._decode(target, tokens[target], *self.trunk(visible, rows), rows)

    def embed(self, modality, pooled):
        """Return the trunk's global token (B, W) where nothing but the pooled features of one modality is shown."""
        return self.trunk.embed(modality, pooled)

    def _masks(
        self, views: Mapping[str, View], tokens: Mapping[str, Tokens], rows: RecordRows
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return which tokens of each modality are masked, bool (N, T), and how many are visible at most."""
        masked = {name: masking.view_mask(view, tokens[name]) for name, view in views.items()}
        most = {name: of_modality.x.shape[1] for name, of_modality in tokens.items()}
        if drawn := [name for name, mask_NT in masked.items() if mask_NT is None]:
            valid = [rows.spread(name, tokens[name].valid()) for name in drawn]
            masks = masking.dirichlet_masks(valid, self.visible, self.alpha)
            masked |= {name: rows.pick(name, mask_BT) for name, mask_BT in zip(drawn, masks, strict=True)}
            bound = masking.visible_bound(self.visible, [most[name] for name in drawn])
            most |= {name: min(bound, most[name]) for name in drawn}
        return masked, most

    def _visible(self, view: View, tokens: Tokens, masked_NT: Tensor, most: int, encode: Any) -> Visible:
        """Encode the visible tokens of a modality, `most` for each of its records at most."""
        visible_NT = tokens.valid() & ~masked_NT
        index_NK, mask_NK = token_indices(visible_NT, ~visible_NT, most)
        # An encoder sees one token at least; where none is visible, nothing of what it returns is used.
        first_NT = torch.zeros_like(visible_NT).scatter(1, index_NK[:, :1], True)
        seen_NT = visible_NT | (first_NT & ~mask_NK.any(1, keepdim=True))
        features = encode.encode_tokens(view, replace(tokens, mask=seen_NT), index_NK)
        if features.mask is None:
            raise RecipeError(
                "The objective 'multimae' shows each record another number of tokens, by their padding mask, which the "
                f"encoder {self.encoder_names[view.modality]} of '{view.modality}' ignores: choose another encoder, or "
                "let it mask attention and pooling by tokens.mask and return that as the mask of its features."
            )
        return Visible(features, take_tokens(tokens.positions, index_NK), mask_NK)

    def _decode(self, name: str, tokens: Tokens, context_BSW: Tensor, mask_BS: Tensor, rows: RecordRows) -> Tensor:
        """Predict all tokens of a modality of the records that have it, (N, T, P)."""
        context_NSW, mask_NS = rows.pick(name, context_BSW), rows.pick(name, mask_BS)
        return self.decoders[name](context_NSW, mask_NS, tokens.positions, tokens.valid())
