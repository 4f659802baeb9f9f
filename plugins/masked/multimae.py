"""MultiMAE."""

from __future__ import annotations

from torch import nn

from sensorium import (
    CrossAttentionDecoder,
    JointTrunk,
    Needs,
    Objective,
    Outcome,
    RecordRows,
    draw_masks,
    encode_visible,
    losses,
)
from sensorium.errors import check_range


class MultiMAE(Objective):
    """MultiMAE: multi-modal multi-task masked autoencoder (Bachmann et al. 2022), of any modalities, or of one.

    Each encoder sees the visible tokens of its modality alone; one transformer, the trunk, joins what they return. A
    decoder for each modality predicts its masked tokens from all visible tokens of the record. How many tokens a
    modality shows is drawn for each record from a Dirichlet distribution over those that it has, so that each is
    predicted from much or little of itself and others. The loss is the mean over modalities of the mean over their
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
    record_keys = ()

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
        encoders.refuse_causal("multimae")
        self.trunk = JointTrunk(encoders, self.width, self.depth, self.heads)
        self.decoders = nn.ModuleDict()
        for name, one in encoders.items():
            sizes = one.token_dim, self.width, one.target_dim, self.decoder_width, self.decoder_depth, self.heads
            self.decoders[name] = CrossAttentionDecoder(*sizes)

    def forward(self, views, encode):
        """Encode what is visible of each record, predict what is masked."""
        seen = {name: of_modality[0] for name, of_modality in views.items()}
        rows, tokens = RecordRows(seen), {name: encode.tokenize(view) for name, view in seen.items()}
        masked, most = draw_masks(seen, tokens, rows, self.visible, self.alpha)
        visible = {n: encode_visible(view, tokens[n], encode, masked[n], most[n]) for n, view in seen.items()}
        context = self.trunk(visible, rows)
        predictions = {name: self._decode(name, tokens[name], context, rows) for name in seen}
        targets = {name: encode.token_targets(view) for name, view in seen.items()}
        loss, each = losses.multimodal_reconstruction(predictions, targets, masked)
        logs = {f"{name}_loss": of_modality.detach() for name, of_modality in each.items()}
        return Outcome(loss, logs, features={"records": context[0][:, 0].detach()})

    def predict_tokens(self, views, encode, sources, target):
        """Predict all tokens of one modality from those of others, which are shown in full."""
        seen = {name: views[name][0] for name in (*sources, target)}
        rows, tokens = RecordRows(seen), {name: encode.tokenize(view) for name, view in seen.items()}
        visible = {name: encode_visible(seen[name], tokens[name], encode) for name in sources}
        return self._decode(target, tokens[target], self.trunk(visible, rows), rows)

    def embed(self, modality, pooled):
        """Return the trunk's global token (B, W) where nothing but the pooled features of one modality is shown."""
        return self.trunk.embed(modality, pooled)

    def _decode(self, name, tokens, context, rows):
        """Predict all tokens of a modality of the N records that have it, (N, T, P)."""
        context_NSW, mask_NS = (rows.pick(name, of_records) for of_records in context)
        return self.decoders[name](context_NSW, mask_NS, tokens.positions, tokens.valid())
