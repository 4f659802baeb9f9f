"""Token masks: which tokens are masked, which blocks are predicted.

One rule of randomness. An objective draws here from torch's global generators, which the training loop seeds from
(seed, step, rank, part); a view generator draws from the generator that it is handed, and puts its mask in
`View.info["masked"]`. An objective uses the mask of a view that has one, and draws nothing.

Masks are bool, True where a token is masked. Several masks of each record are masks of `tokens.repeat(copies)`, which
draws one for each copy. Tokens on a grid lie row by row; a sequence is a grid of one row. Letters:
B records, T tokens, D width, N target blocks, H and W height and width of the grid.
"""

from sensorium.blocks.masking import (
    block_mask,
    context_and_targets,
    dirichlet_masks,
    flat_indices,
    inverse_block_mask,
    mask_token,
    random_mask,
    random_mask_counts,
    random_ratio_mask,
    replace_masked,
    span_mask,
    split_masked,
    valid_on_grid,
    view_mask,
    visible_bound,
)

__all__ = [
    "block_mask",
    "context_and_targets",
    "dirichlet_masks",
    "flat_indices",
    "inverse_block_mask",
    "mask_token",
    "random_mask",
    "random_mask_counts",
    "random_ratio_mask",
    "replace_masked",
    "span_mask",
    "split_masked",
    "valid_on_grid",
    "view_mask",
    "visible_bound",
]
