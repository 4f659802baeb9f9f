"""Next-embedding prediction.

Letters: B this rank's rows, T tokens, D width.
"""

from __future__ import annotations

from torch import Tensor

from sensorium.errors import SensoriumError
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives


def next_embedding(outputs_BTD: Tensor, embeddings_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """NEPA's loss: mean negative cosine of each output and the embedding of the token after it (Xu et al. 2025).

    The output of token t is compared with the embedding of token t + 1, where both are valid; the last one with none.

    Args:
        outputs_BTD: float, the outputs of a causal encoder, any norm; computed in fp32 (fp64 stays).
        embeddings_BTD: float, the embeddings of the same tokens, *without positions*, any norm; stop-gradient.
        mask_BT: bool, the padding mask: True where a token is valid.

    Returns:
        This rank's share of the mean over all such pairs of the joined batch, in [-1, 1]; the mean over ranks is the
        loss of the joined batch. Zero, with zero gradient, where no record has two tokens; an embedding of norm zero
        has cosine 0.

    Raises:
        SensoriumError: when outputs and embeddings have different shapes.
    """
    if outputs_BTD.ndim != 3 or outputs_BTD.shape != embeddings_BTD.shape:
        raise SensoriumError(
            f"The loss compares outputs of shape {tuple(outputs_BTD.shape)} with embeddings of shape "
            f"{tuple(embeddings_BTD.shape)}: hand in two of one shape (B, T, D)."
        )
    with outside_autocast(outputs_BTD):
        predictions_BTD = normalize_rows(outputs_BTD[:, :-1])
        targets_BTD = normalize_rows(embeddings_BTD[:, 1:].detach()).to(predictions_BTD.dtype)
        pair_BT = mask_BT[:, 1:] & mask_BT[:, :-1]
        summed = -cosines(predictions_BTD, targets_BTD).masked_fill(~pair_BT, 0.0).sum()
        return collectives.share(summed, collectives.all_reduce_sum(pair_BT.sum()))
