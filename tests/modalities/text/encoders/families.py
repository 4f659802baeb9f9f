"""Tiny text models of transformers of many architectures, in folders as `save_pretrained` writes them."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sleep", "##s", "dog", "on", "stone", "red", "old"]
TEXTS = ("the old dog sleeps on the red stone", "cat sleeps", "the cat on the stone sleeps", "old dog on cat")
SIZE = {
    "vocab_size": 20,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
}
RENAMED = {
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 24},
    "T5": {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 64, "d_kv": 8},
    "Bart": {
        **{
            f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in (("layers", 2), ("ffn_dim", 64))
        },
        **{"d_model": 32, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 24},
    },
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 24},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
}
MORE = {
    "Roberta": {"pad_token_id": 1},
    "MPNet": {"pad_token_id": 1},
    "Electra": {"embedding_size": 16},
    "Albert": {"embedding_size": 16},
    "DebertaV2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "ModernBert": {
        "num_hidden_layers": 4,
        "local_attention": 4,
        **{f"{role}_token_id": None for role in ("bos", "eos", "cls", "sep")},
    },
    "Mistral": {"num_key_value_heads": 2, "sliding_window": 3},
    "Gemma3Text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 3, "query_pre_attn_scalar": 8},
    "FNet": {},
}


def save_tokenizer(path: Path, words: list[str] = WORDS) -> None:
    """Write a tokenizer of a few words into a folder."""
    path.mkdir(exist_ok=True, parents=True)
    (path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)


def config_of(family: str):
    """Return the configuration of a tiny model."""
    sizes = {"vocab_size": SIZE["vocab_size"], **RENAMED[family]} if family in RENAMED else SIZE
    ends = {"bos_token_id": None, "eos_token_id": None} if family in ("GPT2", "Mistral", "Gemma3Text") else {}
    return getattr(transformers, f"{family}Config")(**{**sizes, **ends, **MORE.get(family, {})})


def grown(model: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """Give a model weights under which positions and attention make a difference that a test can see."""
    rng = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        noise = torch.randn(p.shape, generator=rng)
        p.data = noise / p.shape[-1] ** 0.5 if p.ndim > 1 else p.data + 0.1 * noise
    return model


def save(family: str, path: Path) -> str:
    """Write a tiny model and its tokenizer into a folder."""
    save_tokenizer(path)
    grown(transformers.AutoModel.from_config(config_of(family))).save_pretrained(path)
    return str(path)
