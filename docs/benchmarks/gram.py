"""Dense features over a long small training of dinov2, with and without Gram anchoring.

    python docs/benchmarks/gram.py OUT --seeds 0 1 2

Scenes are made by `gram_scenes.py` from seeds; nothing is read. The training with Gram anchoring goes on from the
weights of the one without, from where its segmentation of the val part by nearest neighbors is best, but from half of
the steps at the latest. Every `--every` steps the EMA teacher's tokens are measured. Measurements and weights are kept
in OUT, and the command goes on from there when it is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from statistics import mean, stdev

import torch
from gram_scenes import PATCH, SIDE, measure, scenes, token_labels

import sensorium
from sensorium import Learner, views
from sensorium.runs.atomic import write_atomically

BATCH, CROP, WARMUP, LR = 32, 24, 100, 1e-3
"""Scenes of a step; side of a global crop, twice that of a local one; steps of the warm-up; constant learning rate."""
PARTS = {"train": (3000, 1), "probe": (600, 2), "test": (300, 3), "val": (300, 4)}
"""Part -> number of scenes, and their seed; the train part is used without labels, and probes learn on their own part.

The start of Gram anchoring is chosen on the val part; the test part decides nothing.
"""
HEADS = {"prototypes": 256, "width": 256, "bottleneck": 64}
KINDS = ("dinov2", "gram")


class Training:
    """One training: a learner, its optimizer, and where it stands; a loop of one's own."""

    def __init__(self, seed: int, asked: argparse.Namespace, start: float | None = None) -> None:
        self.seed, self.steps, self.step, self.seconds = seed, asked.steps, 0, 0.0
        torch.manual_seed(seed)
        self.transform = views.image.multicrop(
            size=CROP, local_views=2, global_scale=(0.4, 1.0), local_scale=(0.1, 0.4), strength=0.5, sigma=(0.1, 1.0)
        )
        gram = {"weight": asked.weight, "start": start, "local_weight": asked.local_weight}
        options = HEADS | {"momentum": 0.99, "final_momentum": 0.99} | ({} if start is None else {"gram": gram})
        objective = sensorium.build("objective", "dinov2", **options)
        size = {"patch": PATCH, "width": asked.width, "depth": asked.depth, "heads": 3, "pool": "cls"}
        encoder = sensorium.build("encoder", "vit", modality=self.transform.modality, **size)
        self.learner = Learner({"image": encoder}, objective).train()
        trained = [p for p in self.learner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.04)

    def advance(self, images: torch.Tensor, until: int) -> None:
        """Train up to a step; every draw is a function of (seed, step)."""
        began = time.perf_counter()
        while self.step < until:
            torch.manual_seed(1_000_003 * (self.seed + 1) + self.step)
            made = self.transform.views(images[torch.randint(len(images), (BATCH,))])
            for group in self.optimizer.param_groups:
                group["lr"] = LR * min((self.step + 1) / WARMUP, 1)
            loss = self.learner(made).loss
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 3.0)
            self.optimizer.step()
            self.step += 1
            self.learner.objective.after_step(self.step / self.steps)
        self.seconds += time.perf_counter() - began

    @torch.no_grad()
    def features(self, part: str) -> dict[str, torch.Tensor]:
        """Return the EMA teacher's tokens and pooled features of a labeled part, and the class of each patch."""
        pixels, labels = scenes(*PARTS[part])
        encoder = self.learner.objective.teacher.encoders["image"].eval()
        batch = self.transform.modality.batch_of(pixels)
        found = encoder(views.image.plain(size=SIDE).views(batch)[0].batch)
        self.learner.train()
        return {"tokens": found.tokens, "pooled": found.pooled, "classes": token_labels(labels)}

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        state = {
            "learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        write_atomically(path, lambda file: torch.save(state, file))

    def load(self, path: Path) -> None:
        """Go on from there; a file of the training without Gram anchoring has no Gram teacher, which is due later."""
        state = torch.load(path, weights_only=True)
        lost = self.learner.load_state_dict(state["learner"], strict=False)
        assert not lost.unexpected_keys
        assert all(".anchoring." in name for name in lost.missing_keys), lost.missing_keys
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def run(seed: int, kind: str, images: torch.Tensor, asked: argparse.Namespace) -> None:
    """Train one kind of one seed to the end, and measure it on the way."""
    out = asked.out / f"{kind}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    common = asked.out / f"dinov2-{seed}"
    start = best_step(common, asked.steps) if kind == "gram" else None
    training = Training(seed, asked, None if start is None else start / asked.steps)
    if (out / "last.pt").exists():
        training.load(out / "last.pt")
    elif start is not None:
        training.load(common / f"{start}.pt")
    if kind == "dinov2" and not training.step:
        note(training, out, out / "0.pt")  # its first weights
    while training.step < asked.steps:
        training.advance(images, min((training.step // asked.every + 1) * asked.every, asked.steps))
        note(training, out, *([out / f"{training.step}.pt"] if kind == "dinov2" else []))


def note(training: Training, out: Path, *files: Path) -> None:
    """Measure a training, and keep its weights in `last.pt` and further files."""
    seen = training.features("probe")
    line = {"step": training.step, "seconds": round(training.seconds, 1)} | {
        part: {name: round(value, 5) for name, value in measure(seen, training.features(part)).items()}
        for part in ("val", "test")
    }
    for file in (*files, out / "last.pt"):
        training.save(file)
    with open(out / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(out.name, line, flush=True)


def best_step(folder: Path, steps: int) -> int:
    """Return the step of a training from which on its tokens are anchored."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return max((line["val"]["kNN mIoU"], line["step"]) for line in lines if line["step"] <= steps // 2)[1]


def table(asked: argparse.Namespace, part: str) -> str:
    """Return the metrics of a part over time, mean ± sample deviation over seeds."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for path in sorted(asked.out.glob("*/metrics.jsonl")):
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        for one in {one["step"]: one for one in lines}.values():  # a step may be there twice, after an interruption
            found.setdefault((path.parent.name.rsplit("-", 1)[0], one["step"]), []).append(one[part])
    names = list(next(iter(found.values()))[0])
    lines = [f"| objective | step | seeds | {' | '.join(names)} |", f"| --- |{' ---: |' * (len(names) + 2)}"]
    for (kind, step), ones in sorted(found.items()):
        columns = ([one[name] for one in ones] for name in names)
        cells = [f"{mean(v):.3f} ± {stdev(v):.3f}" if len(v) > 1 else f"{v[0]:.3f}" for v in columns]
        lines.append(f"| {kind} | {step} | {len(ones)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train both kinds of every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=250, help="steps between measurements")
    parser.add_argument("--weight", type=float, default=2.0, help="of Gram anchoring")
    parser.add_argument("--local-weight", type=float, default=1.0, help="of local views while tokens are anchored")
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--depth", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images, _ = scenes(*PARTS["train"])
    for seed in asked.seeds:
        for kind in asked.kinds:
            run(seed, kind, images, asked)
    for part in ("val", "test"):
        digest = hashlib.sha256(scenes(*PARTS[part])[0].numpy().tobytes()).hexdigest()[:12]
        print(f"{part} part: {PARTS[part][0]} scenes, sha256 {digest}\n{table(asked, part)}")


if __name__ == "__main__":
    main()
