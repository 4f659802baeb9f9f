"""wav2vec 2.0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import Assignments, Needs, Objective, Outcome, losses, take_tokens, token_indices
from sensorium.errors import RecipeError
from sensorium.plugins.masked.masking import cover, distractors, hide_spans
from sensorium.plugins.masked.quantizer import Quantizer


class Wav2Vec2(Objective):
    """Tell the quantized content of a hidden token from that of other hidden tokens (Baevski et al. 2020, section 3.2).

    Runs of tokens are hidden. What stands at a place is quantized before the encoder's context has seen it; from the
    context its code is told from those of distractors, drawn from the hidden tokens of the same record. A second loss
    keeps all codes in use. The penalty on the size of features in the authors' code is left out.

    Args:
        start: share of a record's tokens at which a hidden run starts; with runs of 10 it hides about half.
        span: tokens of a run.
        negatives: distractors of each hidden token.
        temperature: what cosines are divided by.
        groups: of the quantizer.
        codes: in each group.
        dim: width of the space of targets, which `groups` divide.
        diversity: weight of the loss that keeps codes in use.
        hot: temperature of the Gumbel noise at first; it falls geometrically.
        cold: that temperature at the end.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    remedy = "raise objective.diversity"

    def __init__(
        self,
        start: float = 0.065,
        span: int = 10,
        negatives: int = 100,
        temperature: float = 0.1,
        groups: int = 2,
        codes: int = 320,
        dim: int = 256,
        diversity: float = 0.1,
        hot: float = 2.0,
        cold: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < start < 1 or min(span, negatives) < 1:
            raise RecipeError(
                "The objective 'wav2vec2' needs a start between 0 and 1, and one span and negative at least."
            )
        self.start, self.span, self.negatives, self.temperature = start, span, negatives, temperature
        self.groups, self.codes, self.dim, self.diversity = groups, codes, dim, diversity
        self.hot, self.cold = hot, cold

    def build(self, encoders):
        """Make the mask token, the quantizer and the head; the noise's temperature is state, and resumed as such."""
        dim = encoders.single.token_dim
        self.mask_token = nn.Parameter(torch.rand(dim))
        self.quantizer = Quantizer(dim, self.groups, self.codes, self.dim)
        self.head = nn.Linear(dim, self.dim)
        self.register_buffer("noise", torch.tensor(self.hot))

    def forward(self, views, encode):
        """Hide runs of tokens, guess their codes from the context."""
        (view,) = views
        tokens = encode.tokenize(view)
        hidden_BT = hide_spans(view, tokens, self.start, self.span)
        features = encode.encode_tokens(view, cover(tokens, hidden_BT, self.mask_token))
        places_BM, mask_BM = token_indices(hidden_BT, ~tokens.valid())
        content_BMD, guesses_BMD = take_tokens(tokens.x, places_BM), self.head(take_tokens(features.tokens, places_BM))
        targets, probabilities, codes = self.quantizer(content_BMD[mask_BM], self.noise)
        targets_BMP, codes_BMG = _laid_out(targets, mask_BM), _laid_out(codes, mask_BM)
        others_BMK, told_BM = distractors(mask_BM, self.negatives)
        contrast = losses.masked_contrast(guesses_BMD, targets_BMP, codes_BMG, others_BMK, told_BM, self.temperature)
        spread = losses.diversity(probabilities)
        logs = {"contrast": contrast.detach(), "diversity": spread.detach()}
        logs["code_perplexity"] = losses.code_perplexity(codes, self.codes)
        codes = {"codes": Assignments(logs["code_perplexity"])}
        return Outcome(contrast + self.diversity * spread, logs, {"features": features.pooled.detach()}, codes)

    def after_step(self, progress):
        """Cool the noise."""
        self.noise.fill_(self.hot * (self.cold / self.hot) ** progress)


def _laid_out(rows: Tensor, mask_BM: Tensor) -> Tensor:
    """Return rows (N, D) at the N places of the mask, zeros elsewhere: (B, M, D)."""
    return rows.new_zeros(*mask_BM.shape, rows.shape[1]).masked_scatter(mask_BM[..., None], rows)
