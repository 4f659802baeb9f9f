"""GraphMAE."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from sensorium import Needs, Objective, Outcome, TokenDecoder, losses, masking, take_tokens
from sensorium.errors import check_range


class GraphMAE(Objective):
    """GraphMAE: masked graph autoencoder with re-masking and a scaled cosine error (Hou et al. 2022, section 3.2).

    The encoder sees mask tokens; its code of the masked tokens is masked again before it is decoded. The decoder is one
    layer of the encoder's kind where it has one (`token_mixer`, of graph encoders), else a transformer on the visible
    tokens. Class ids are reconstructed as one-hot vectors.

    Args:
        mask_ratio: fraction of each record's tokens that is masked, in (0, 1); the mask of a view comes first.
        replace_ratio: fraction of the masked tokens that become another token of the batch, not the mask token, 0 to 1.
        gamma: exponent of the scaled cosine error, >= 1; 1 to 3 is usual.
        width: width of a transformer decoder.
        heads: attention heads of a transformer decoder; they divide `width`.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    record_keys = ()

    def __init__(
        self, mask_ratio: float = 0.5, replace_ratio: float = 0.0, gamma: float = 2.0, width: int = 128, heads: int = 4
    ) -> None:
        super().__init__()
        check_range("objective 'graphmae'", "(0, 1)", mask_ratio=mask_ratio)
        self.mask_ratio, self.replace_ratio, self.gamma = mask_ratio, replace_ratio, gamma
        self.width, self.heads = width, heads

    def build(self, encoders):
        """Make the mask tokens, the map from code to decoder, and the decoder."""
        encoder = encoders.single
        self.mask_token = masking.mask_token(encoder, torch.zeros(encoder.token_dim))
        self.encoder_to_decoder = nn.Linear(encoder.token_dim, encoder.token_dim, bias=False)
        self.mixer = encoder.token_mixer()
        if self.mixer is None:
            self.decoder = TokenDecoder(encoder.token_dim, encoder.target_dim, self.width, 1, self.heads)
        else:
            self.remask_token = nn.Parameter(torch.zeros(encoder.token_dim))
            self.head = nn.Linear(encoder.token_dim, encoder.target_dim)

    def forward(self, views, encode):
        """Encode masked tokens, mask their code again, reconstruct them."""
        (view,) = views
        tokens, targets = encode.tokenize(view), encode.token_targets(view)
        masked_BT, valid_BT = masking.random_mask(view, tokens, self.mask_ratio), tokens.valid()
        corrupted = masking.replace_masked(tokens, masked_BT, self.mask_token)
        features = encode.encode_tokens(view, self.with_replacements(corrupted, tokens, masked_BT, valid_BT))
        code_BTD = self.encoder_to_decoder(features.tokens)
        if self.mixer is not None:
            remasked = masking.replace_masked(replace(tokens, x=code_BTD), masked_BT, self.remask_token)
            predictions_BTP = self.head(self.mixer(remasked))
        else:
            predictions_BTP, targets, masked_BT = self.decoded(view, features, code_BTD, tokens, targets, masked_BT)
        if not targets.is_floating_point():
            targets = F.one_hot(targets, predictions_BTP.shape[-1]).float()
        loss = losses.scaled_cosine_error(predictions_BTP, targets, masked_BT, self.gamma)
        return Outcome(loss, features={"features": features.pooled.detach()})

    def with_replacements(self, corrupted, tokens, masked_BT, valid_BT):
        """Return the corrupted tokens, some of the masked ones replaced with a random token of the batch."""
        if not self.replace_ratio:
            return corrupted
        replaced_BT = torch.rand(masked_BT.shape, device=masked_BT.device) < self.replace_ratio
        # Valid tokens first, and a random one of them for each: their number stays on the device.
        valid_N = (~valid_BT.flatten()).to(torch.uint8).argsort(stable=True)
        pick_BT = (torch.rand(masked_BT.shape, device=masked_BT.device) * valid_BT.sum()).long()
        others_BTD = tokens.x.flatten(0, 1)[valid_N[pick_BT]]
        return replace(corrupted, x=torch.where((masked_BT & replaced_BT)[..., None], others_BTD, corrupted.x))

    def decoded(self, view, features, code_BTD, tokens, targets, masked_BT):
        """Return a transformer's predictions from the visible tokens, with the targets and which of them count."""
        visible_BK, masked_BM, mask_BM = masking.split_masked(view, tokens, self.mask_ratio, masked_BT)
        visible = replace(features, tokens=code_BTD).take(visible_BK)
        predictions_BMP = self.decoder(visible, tokens.positions, visible_BK, masked_BM, mask_BM)
        return predictions_BMP, take_tokens(targets, masked_BM), mask_BM
