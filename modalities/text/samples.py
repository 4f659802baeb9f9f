"""Sample options of parts that read files, for the conformance kit: a tiny transformer and a tiny corpus."""

from __future__ import annotations

import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "etaoin")]


@cache
def _home() -> tempfile.TemporaryDirectory:
    """Return a folder that is removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix="sensorium-samples-")


def tiny_transformer() -> dict[str, Any]:
    """Return options for a BERT of two narrow layers with random weights, written as `save_pretrained` writes it."""
    if find_spec("transformers") is None:  # the parts that need it are then skipped
        return {}
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    path = Path(_home().name) / "transformer"
    if not path.exists():
        path.mkdir()
        (path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
        BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        with torch.random.fork_rng([]):
            BertModel(config).save_pretrained(path)
    return {"model": str(path), "modality": {"tokenizer": f"transformers:{path}", "length": 32}}


def corpus() -> dict[str, Any]:
    """Return options for a text file of two short paragraphs."""
    path = Path(_home().name) / "corpus.txt"
    path.write_text("Rain falls on the roof.\n\nThe ship leaves the harbour at dawn.\n" * 8, encoding="utf-8")
    return {"path": str(path)}


def tiny_tokenizer() -> dict[str, Any]:
    """Return options for the tokenizer of the same BERT."""
    made = tiny_transformer()
    return {"path": made["model"]} if made else {}
