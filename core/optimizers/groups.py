"""Which weights an optimizer treats alike: parameter groups, and the hidden matrices among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from sensorium.contracts import Encoder


def parameter_groups(learner: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters in the usual groups: matrices (and kernels) with weight decay, others without.

    Args:
        learner: what is trained.
        weight_decay: of parameters of two dimensions or more; biases, norms and scalars have none.

    Returns:
        One or two groups, each with "params" and "weight_decay", as torch's optimizers take them.
    """
    return decayed(trainable(learner), weight_decay)


def decayed(weights: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return parameters in two groups, those that decay and those that do not; an empty one is left out."""
    kept = list(weights)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in kept if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in kept if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def trainable(learner: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are trained, each once."""
    return [p for p in learner.parameters() if p.requires_grad]


def hidden_matrices(learner: nn.Module) -> list[nn.Parameter]:
    """Return the trainable matrices and convolution kernels of hidden layers, each once.

    These are the weights of linear maps, convolutions, attention and recurrent layers (by name, `...weight...`, in
    any module), but not

    - the input layer of an encoder, the first such weight in it (a patch embedding, the stem of a ResNet);
    - the output layer of a head, the last such weight of what is no encoder (logits, prototypes, predicted patches);
    - kernels of one input channel (depthwise convolutions), which are no matrices;
    - embeddings, position embeddings and tokens, norms and biases.

    Args:
        learner: a learner, an encoder, or a head alone.
    """
    encoders = [module for module in learner.modules() if isinstance(module, Encoder)]
    inside = {id(weight) for encoder in encoders for weight in encoder.parameters()}
    edges = {id(next(iter(_matrices(encoder)), None)) for encoder in encoders}
    for head in _heads(learner):
        of_head = [weight for weight in _matrices(head) if id(weight) not in inside]
        edges.update(id(weight) for weight in of_head[-1:])
    hidden = (weight for weight in _matrices(learner) if weight.requires_grad and id(weight) not in edges)
    return [weight for weight in hidden if weight.ndim == 2 or weight.shape[1] > 1]


def _matrices(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the weights of two dimensions or more of linear layers of any kind, in the order of their registration."""
    embeddings = {
        id(weight)
        for embedding in module.modules()
        if isinstance(embedding, nn.Embedding | nn.EmbeddingBag)
        for weight in embedding.parameters()
    }
    for name, weight in module.named_parameters():
        if "weight" in name.rpartition(".")[2] and weight.ndim >= 2 and id(weight) not in embeddings:
            yield weight


def _heads(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the smallest parts of a module that are heads: its own children and the elements of their containers.

    A sequence is one head. Encoders have none.
    """
    if isinstance(module, Encoder):
        return
    children = list(module.children())
    has_own_weights = next(module.parameters(recurse=False), None) is not None
    if not children or has_own_weights or isinstance(module, nn.Sequential):
        yield module
        return
    for child in children:
        yield from _heads(child)
