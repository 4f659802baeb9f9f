"""GraphMAE."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from sensorium import Needs, Objective, Outcome, TokenDecoder, losses, take_tokens, token_indices
from sensorium.plugins.masked.masking import cover, hide, share


class GraphMAE(Objective):
    """Guess hidden tokens from a code that is hidden a second time, by the cosine (Hou et al. 2022, section 3.2).

    The encoder sees mask tokens; their code is covered again before it is decoded. An encoder whose tokens have
    neighbors gives the decoder, one layer of its kind (`token_mixer`); for any other it is a transformer that sees
    the other tokens. Classes are guessed as vectors with a single 1.

    Args:
        ratio: share of each record's tokens that is hidden, unless its view says which are (`info["masked"]`).
        replace: share of the hidden tokens that show another token of the batch instead of the mask token.
        power: of one less the cosine; 1 to 3.
        width: of a transformer as decoder.
        heads: its attention heads; they divide `width`.
    """

    needs = Needs(views=1, tokens=True, info="masked")

    def __init__(
        self, ratio: float = 0.5, replace: float = 0.0, power: float = 2.0, width: int = 128, heads: int = 4
    ) -> None:
        super().__init__()
        self.ratio, self.replace, self.power = share(ratio, "graphmae"), replace, power
        self.width, self.heads = width, heads

    def build(self, encoders):
        """Make mask tokens, the way from code to decoder, and the decoder."""
        encoder = encoders.single
        self.mask_token = nn.Parameter(torch.zeros(encoder.token_dim))
        self.bridge = nn.Linear(encoder.token_dim, encoder.token_dim, bias=False)
        self.mixer = encoder.token_mixer()
        if self.mixer is None:
            self.decoder = TokenDecoder(encoder.token_dim, encoder.target_dim, self.width, 1, self.heads)
        else:
            self.second_token = nn.Parameter(torch.zeros(encoder.token_dim))
            self.head = nn.Linear(encoder.token_dim, encoder.target_dim)

    def forward(self, views, encode):
        """Hide tokens, encode all, hide their code, guess them."""
        (view,) = views
        tokens, targets = encode.tokenize(view), encode.token_targets(view)
        hidden_BT, valid_BT = hide(view, tokens, self.ratio), tokens.valid()
        seen = cover(tokens, hidden_BT, self.mask_token)
        features = encode.encode_tokens(view, self.swapped(seen, tokens, hidden_BT, valid_BT))
        code_BTD = self.bridge(features.tokens)
        if self.mixer is not None:
            covered = cover(replace(tokens, x=code_BTD), hidden_BT, self.second_token)
            guesses_BTP = self.head(self.mixer(covered))
        else:
            guesses_BTP, targets, hidden_BT = self.decoded(features, code_BTD, tokens, targets, hidden_BT, valid_BT)
        if not targets.is_floating_point():
            targets = F.one_hot(targets, guesses_BTP.shape[-1]).float()
        loss = losses.scaled_cosine(guesses_BTP, targets, hidden_BT, self.power)
        return Outcome(loss, features={"features": features.pooled.detach()})

    def swapped(self, seen, tokens, hidden_BT, valid_BT):
        """Return the tokens as seen, some of the hidden ones showing a random token of the batch."""
        if not self.replace:
            return seen
        luck_BT = torch.rand(hidden_BT.shape, device=hidden_BT.device) < self.replace
        others_ND = tokens.x[valid_BT]
        drawn_BT = torch.randint(len(others_ND), hidden_BT.shape, device=hidden_BT.device)
        return replace(seen, x=torch.where((hidden_BT & luck_BT)[..., None], others_ND[drawn_BT], seen.x))

    def decoded(self, features, code_BTD, tokens, targets, hidden_BT, valid_BT):
        """Return what a transformer guesses from the visible tokens, with the targets and which of them count."""
        visible_BK, _ = token_indices(valid_BT & ~hidden_BT, ~valid_BT)
        wanted_BM, mask_BM = token_indices(hidden_BT, ~hidden_BT)
        kept = replace(features, tokens=code_BTD).take(visible_BK)
        guesses_BMP = self.decoder(kept, tokens.positions, visible_BK, wanted_BM, mask_BM)
        return guesses_BMP, take_tokens(targets, wanted_BM), mask_BM
