"""wav2vec 2.0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import Assignments, Needs, Objective, Outcome, losses, masking, take_tokens, token_indices
from sensorium.errors import check_range
from sensorium.plugins.masked.distractors import sample_distractors
from sensorium.plugins.masked.quantizer import Quantizer


class Wav2Vec2(Objective):
    """wav2vec 2.0 (Baevski et al. 2020, section 3.2): contrast a masked token's quantized target with distractors.

    Spans of tokens are masked. Targets are the tokens before the encoder, quantized; the encoder's output at a masked
    token is contrasted with its target and with distractors, targets of other masked tokens of the record. A diversity
    loss keeps all codebook entries in use. The penalty on the features' norm in the authors' code is left out.

    Args:
        mask_probability: probability that a token starts a masked span, in (0, 1); .065 with spans of 10 masks half.
        mask_length: tokens of a masked span, >= 1.
        distractors: number of distractors of each masked token, >= 1.
        temperature: softmax temperature, > 0.
        codebooks: number of codebooks of the quantizer; they divide `dim`.
        codebook_size: entries of each codebook, >= 2.
        dim: width of the space of targets.
        diversity: weight of the diversity loss, >= 0.
        gumbel_temperature: temperature of the Gumbel softmax at the start and at the end; it decays geometrically.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    record_keys = ()
    remedy = "raise objective.diversity"

    def __init__(
        self,
        mask_probability: float = 0.065,
        mask_length: int = 10,
        distractors: int = 100,
        temperature: float = 0.1,
        codebooks: int = 2,
        codebook_size: int = 320,
        dim: int = 256,
        diversity: float = 0.1,
        gumbel_temperature: tuple[float, float] = (2.0, 0.5),
    ) -> None:
        super().__init__()
        check_range("objective 'wav2vec2'", "(0, 1)", mask_probability=mask_probability)
        check_range("objective 'wav2vec2'", "[1, inf)", mask_length=mask_length, distractors=distractors)
        self.mask_probability, self.mask_length, self.distractors = mask_probability, mask_length, distractors
        self.temperature, self.codebooks, self.codebook_size = temperature, codebooks, codebook_size
        self.dim, self.diversity, self.gumbel_temperature = dim, diversity, gumbel_temperature

    def build(self, encoders):
        """Make the mask token, the quantizer and the head; the Gumbel temperature is a buffer, and resumed as such."""
        dim = encoders.single.token_dim
        self.mask_token = masking.mask_token(encoders.single, torch.rand(dim))
        self.quantizer = Quantizer(dim, self.codebooks, self.codebook_size, self.dim)
        self.head = nn.Linear(dim, self.dim)
        self.register_buffer("gumbel_now", torch.tensor(self.gumbel_temperature[0]))

    def forward(self, views, encode):
        """Mask spans of tokens, contrast the predictions with quantized targets."""
        (view,) = views
        tokens = encode.tokenize(view)
        masked_BT = masking.span_mask(view, tokens, self.mask_probability, self.mask_length)
        features = encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token))
        padding_BT = ~tokens.valid()
        masked_B, available_B = torch.stack([masked_BT.sum(1), (masked_BT | padding_BT).sum(1)]).tolist()
        count = min(max(masked_B), min(available_B))
        index_BM, mask_BM = token_indices(masked_BT, padding_BT, count)
        index_N = masking.flat_indices(mask_BM, sum(min(masked, count) for masked in masked_B))
        inputs_BMD, predictions_BMD = tokens.take(index_BM).x, self.head(take_tokens(features.tokens, index_BM))
        targets_NP, probabilities, codes_NG = self.quantizer(inputs_BMD.flatten(0, 1)[index_N], self.gumbel_now)
        targets_BMP, codes_BMG = _scattered(targets_NP, mask_BM), _scattered(codes_NG, mask_BM)
        distractors_BMK, counted_BM = sample_distractors(mask_BM, self.distractors)
        contrast = losses.masked_contrastive(
            predictions_BMD, targets_BMP, codes_BMG, distractors_BMK, counted_BM, self.temperature
        )
        diversity = losses.diversity(probabilities)
        perplexity = losses.code_perplexity(codes_NG, self.codebook_size)
        logs = {"contrast": contrast.detach(), "diversity": diversity.detach(), "code_perplexity": perplexity}
        return Outcome(
            contrast + self.diversity * diversity,
            logs,
            {"features": features.pooled.detach()},
            {"codes": Assignments(perplexity)},
        )

    def after_step(self, progress):
        """Lower the Gumbel temperature."""
        start, end = self.gumbel_temperature
        self.gumbel_now.fill_(start * (end / start) ** progress)


def _scattered(x_ND: Tensor, mask_BM: Tensor) -> Tensor:
    """Return the N rows of x at the N True entries of the mask, zeros elsewhere: (B, M, D)."""
    return x_ND.new_zeros(*mask_BM.shape, x_ND.shape[1]).masked_scatter(mask_BM[..., None], x_ND)
