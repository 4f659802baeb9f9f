"""Next-character prediction by a plain PyTorch loop: the reference for the recipe `language-model`.

    python docs/benchmarks/language_model.py shakespeare.txt
    sensorium train language-model data.source.path=shakespeare.txt

The same sizes as the recipe (4 layers of width 128, context 64, batch 12, 2,000 steps, the first 90 % of the text to
learn from, the rest to measure on), written by hand with torch alone. Prints seconds and the loss of the rest.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, DEPTH, HEADS, CONTEXT, BATCH, STEPS, LR = 128, 4, 4, 64, 12, 2000, 1e-3


class Block(nn.Module):
    """Attention and a feed-forward network, each on a normalized residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        )

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return the stream after the block."""
        b, t, _ = x_BTD.shape
        q, k, v = self.qkv(self.norms[0](x_BTD)).view(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, WIDTH)
        x_BTD = x_BTD + self.out(attended)
        return x_BTD + self.feed(self.norms[1](x_BTD))


class Characters(nn.Module):
    """A causal transformer over characters."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(size, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm, self.head = nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, size, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Return the logits of each following character."""
        x_BTD = self.token(ids_BT) + self.position.weight[: ids_BT.shape[1]]
        return self.head(self.norm(self.blocks(x_BTD)))


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    text = asked.path.read_text(encoding="utf-8")
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(c) for c in text])
    cut = int(0.9 * len(ids))
    learn, rest = ids[:cut], ids[cut:]
    model = Characters(len(letters))
    decayed = [p for p in model.parameters() if p.ndim == 2]
    spared = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99))
    start = time.perf_counter()
    for step in range(STEPS):
        factor = min((step + 1) / 101, 1) * (
            0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * max(step - 100, 0) / (STEPS - 100)))
        )
        for group in optimizer.param_groups:
            group["lr"] = LR * factor
        starts = torch.randint(len(learn) - CONTEXT - 1, (BATCH,))
        window_BT = torch.stack([learn[i : i + CONTEXT + 1] for i in starts])
        loss = F.cross_entropy(model(window_BT[:, :-1]).flatten(0, 1), window_BT[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - start
    windows = rest[: (len(rest) - 1) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    following = rest[1 : 1 + windows.numel()].view(-1, CONTEXT)
    with torch.inference_mode():
        nats = [
            F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum")
            for x, y in zip(windows.split(64), following.split(64), strict=True)
        ]
    print(f"seed {asked.seed}: {seconds:.0f} s, {float(sum(nats)) / following.numel():.4f} nats per character")


if __name__ == "__main__":
    main()
