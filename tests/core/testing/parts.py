"""Parts of plugins: valid ones, and ones with one deliberate defect each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from sensorium import (
    BadSample,
    Batch,
    Encoder,
    Evaluator,
    Features,
    Modality,
    Needs,
    Objective,
    Outcome,
    Record,
    SensoriumError,
    Source,
    TokenEncoder,
    Tokens,
    View,
    ViewGenerator,
    collectives,
    losses,
)
from sensorium.presence import present_in_all, rows_among

SAMPLES = {"rows": [[1.0, 2.0, 3.0], [0.5, -1.0, 4.0], [2.0, 2.0, -2.0]]}


@dataclass
class Rows(Batch):
    x: Tensor


class Good(Modality):
    """Rows of three numbers."""

    def __init__(self):
        self.shift = 0.0

    def decode(self, raw):
        try:
            x = torch.as_tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadSample("no numbers") from error
        if x.shape != (3,):
            raise BadSample("not three numbers")
        return x + self.shift

    def collate(self, examples):
        return Rows(torch.stack(examples))

    def fit(self, raws):
        self.shift = float(np.mean(list(raws)))

    def state(self):
        return {"shift": self.shift}

    def load_state(self, state):
        self.shift = state["shift"]


class Forgets(Good):
    """Does not restore what it learned."""

    def load_state(self, state):
        pass


class Crashes(Good):
    """Lets other errors out of decode."""

    def decode(self, raw):
        return torch.tensor(raw, dtype=torch.float32)


class Loses(Good):
    """Drops an example."""

    def collate(self, examples):
        return super().collate(examples[1:])


@dataclass
class Stays(Rows):
    """Does not move all of its tensors."""

    def to(self, device, non_blocking=False):
        return self if torch.device(device).type == "meta" else super().to(device, non_blocking)


@dataclass
class ForgetsSizes(Rows):
    """Knows a number of values on the host, and loses it on the way to a device."""

    sizes: np.ndarray

    def to(self, device, non_blocking=False):
        return replace(super().to(device, non_blocking), sizes=0 * self.sizes)


class LeavesBehind(Good):
    """Makes batches that do not move."""

    def collate(self, examples):
        return Stays(torch.stack(examples))


class LosesSizes(Good):
    """Makes batches that lose what the host knows."""

    def collate(self, examples):
        return ForgetsSizes(torch.stack(examples), np.array([3, 3, 3]))


class Draws(Good):
    """Decodes at random."""

    def decode(self, raw):
        return super().decode(raw) + torch.rand(3)


class Noise(ViewGenerator):
    """Two noisy copies."""

    views = 2

    def __init__(self, modality):
        self.modality = modality

    def __call__(self, batch, rng):
        shape, device = batch.x.shape, batch.x.device
        return [View(Rows(batch.x + torch.randn(shape, generator=rng, device=device))) for _ in range(2)]


class ReadsTwice(Noise):
    """Reads values of the batch on the host."""

    def __call__(self, batch, rng):
        low, high = float(batch.x.min()), float(batch.x.max())
        return [View(Rows(v.batch.x / (1 + high - low))) for v in super().__call__(batch, rng)]


class Mutates(Noise):
    """Writes into its input."""

    def __call__(self, batch, rng):
        batch.x.mul_(2)
        return super().__call__(batch, rng)


class IgnoresSeed(Noise):
    """Keeps a generator of its own."""

    def __call__(self, batch, rng):
        self.own = getattr(self, "own", None) or torch.Generator().manual_seed(3)
        return super().__call__(batch, self.own)


class DrawsGlobally(Noise):
    """Draws from torch's global generator."""

    def __call__(self, batch, rng):
        return [View(Rows(batch.x + torch.randn_like(batch.x))) for _ in range(2)]


class Miscounts(Noise):
    """Declares three views and makes two."""

    views = 3


class DropsRow(Noise):
    """Loses a row."""

    def __call__(self, batch, rng):
        return [View(Rows(view.batch.x[1:])) for view in super().__call__(batch, rng)]


class Widens(Noise):
    """Returns double precision."""

    def __call__(self, batch, rng):
        return [View(Rows(view.batch.x.double())) for view in super().__call__(batch, rng)]


class LacksTarget(Noise):
    """Declares a target that it does not carry."""

    target = "rotation"


class LacksInfo(Noise):
    """Declares an entry of info that it does not have."""

    info = ("anchors",)


class StaysOnHost(Noise):
    """Makes a target on the CPU, wherever its batch is."""

    target = "order"

    def __call__(self, batch, rng):
        return [View(view.batch, torch.zeros(len(view))) for view in super().__call__(batch, rng)]


class Staged(Noise):
    """Writes into the example at its stage."""

    def stage(self, example, rng):
        return example.add_(1)


class MLP(Encoder):
    """A linear map."""

    def __init__(self, modality):
        super().__init__()
        self.dim, self.net = 5, nn.Linear(3, 5)

    def forward(self, batch):
        return Features(self.net(batch.x))


class WrongWidth(MLP):
    """Declares another width."""

    def __init__(self, modality):
        super().__init__(modality)
        self.dim = 6


class Restless(MLP):
    """Drops out in eval mode too."""

    def forward(self, batch):
        return Features(nn.functional.dropout(self.net(batch.x), 0.5, training=True))


class Mixes(MLP):
    """Lets records see each other."""

    def forward(self, batch):
        return Features(self.net(batch.x - batch.x.mean(0)))


class ClashesDtypes(MLP):
    """Copies what autocast made half precision into single precision, which the CPU's autocast allows."""

    def forward(self, batch):
        made = self.net(batch.x)
        into = torch.zeros(made.shape, device=made.device)
        return Features(into.index_copy(0, torch.arange(len(made), device=made.device), made))


class SelectsByMask(MLP):
    """Indexes with a mask and reads a value, so that the host waits for the device."""

    def forward(self, batch):
        made = self.net(batch.x)
        return Features(made * (1 + made[made > 0].detach().sum().item()))


class Hides(MLP):
    """Keeps state outside its state_dict."""

    def __init__(self, modality):
        super().__init__(modality)
        self.scale = torch.rand(1)
        Hides.count = getattr(Hides, "count", 0) + 1
        self.scale += Hides.count

    def forward(self, batch):
        return Features(self.net(batch.x) * self.scale)


class Idle(MLP):
    """Has a parameter that nothing uses."""

    def __init__(self, modality):
        super().__init__(modality)
        self.unused = nn.Parameter(torch.zeros(2))


class Patches(TokenEncoder):
    """Each number is a token."""

    def __init__(self, modality):
        super().__init__()
        self.dim, self.target_dim = 4, 1
        self.embed, self.mix = nn.Linear(1, 4), nn.Linear(4, 4)

    def tokenize(self, batch):
        return Tokens(self.embed(batch.x[..., None]), torch.arange(12.0, device=batch.x.device).view(1, 3, 4))

    def encode_tokens(self, tokens, keep=None):
        x = tokens.x + tokens.positions
        if keep is not None:
            x = x.gather(1, keep[..., None].expand(-1, -1, 4))
        x = self.mix(x)
        return Features(x.mean(1), x)

    def token_targets(self, batch):
        return batch.x[..., None]


class WrongTargets(Patches):
    """Its targets are not as wide as it says."""

    def token_targets(self, batch):
        return torch.cat([batch.x[..., None]] * 2, -1)


class LosesPositions(Patches):
    """Adds positions after it has chosen the tokens."""

    def encode_tokens(self, tokens, keep=None):
        x = tokens.x if keep is None else tokens.x.gather(1, keep[..., None].expand(-1, -1, 4))
        x = self.mix(x + tokens.positions[:, : x.shape[1]])
        return Features(x.mean(1), x)


class Contrast(Objective):
    """NT-Xent."""

    needs = Needs(views=2)
    sign = 1.0

    def build(self, encoders):
        self.project = nn.Linear(encoders.single.dim, 8)

    def forward(self, views, encode):
        x, y = (self.project(f.pooled) for f in encode(views))
        return Outcome(self.sign * losses.nt_xent(x, y, 0.2))


class WrongSign(Contrast):
    """Drives views of one record apart."""

    sign = -1.0


class Cut(Contrast):
    """Gives the encoder no gradient."""

    def forward(self, views, encode):
        x, y = (self.project(f.pooled.detach()) for f in encode(views))
        return Outcome(losses.nt_xent(x, y, 0.2))


class Variance(Contrast):
    """Divides by the number of records less one."""

    def forward(self, views, encode):
        x, y = (self.project(f.pooled) for f in encode(views))
        return Outcome((x - y).square().mean() - (x - x.mean(0)).square().sum(0).div(len(x) - 1).log().mean())


class Ordered(Contrast):
    """Weights records by their index in the batch."""

    def forward(self, views, encode):
        x, y = (self.project(f.pooled) for f in encode(views))
        return Outcome(((x - y).square().mean(1) * torch.arange(1.0, len(x) + 1)).mean())


class Reads(Contrast):
    """Reads three values of the device in every step."""

    def forward(self, views, encode):
        outcome = super().forward(views, encode)
        return Outcome(outcome.loss, {f"row{i}": torch.tensor(float(outcome.loss.detach())) for i in range(3)})


class MixesDevices(Contrast):
    """Weighs the rows by a tensor of the CPU."""

    def forward(self, views, encode):
        x, y = (self.project(f.pooled) for f in encode(views))
        return Outcome(((x - y).square().mean(1) * torch.ones(len(x))).mean())


class Leaks(Contrast):
    """Logs a tensor with its graph."""

    def forward(self, views, encode):
        outcome = super().forward(views, encode)
        return Outcome(outcome.loss, {"loss": outcome.loss})


class Align(Objective):
    """CLIP."""

    needs = Needs(modalities="many")
    sign = 1.0

    def build(self, encoders):
        self.project = nn.ModuleDict({name: nn.Linear(e.dim, 8) for name, e in encoders.items()})

    def embed(self, modality, pooled):
        return self.project[modality](pooled)

    def forward(self, views, encode):
        if not all(views.values()):
            return Outcome(sum(p.sum() for p in self.parameters()) * 0.0)
        (a,), (b,) = views.values()
        both = present_in_all([a.present, b.present])
        x, y = (self.embed(v.modality, encode([v])[0].pooled) for v in (a, b))
        rows = [rows_among(both, view.present) for view in (a, b)]
        x, y = (z if at is None else z[at] for z, at in zip((x, y), rows, strict=True))
        return Outcome(self.sign * losses.clip(x, y, 10.0))


class AlignWrongSign(Align):
    """Drives pairs apart."""

    sign = -1.0


class NeedsAll(Align):
    """Takes every record to have every modality."""

    def forward(self, views, encode):
        (a,), (b,) = views.values()
        x, y = (self.embed(v.modality, encode([v])[0].pooled) for v in (a, b))
        return Outcome(losses.clip(x, y, 10.0))


class Words(Objective):
    """Wants class ids for token targets, and says so."""

    needs = Needs(tokens=True)

    def build(self, encoders):
        self.head = nn.Linear(encoders.single.dim, encoders.single.target_dim)

    def forward(self, views, encode):
        targets = encode.token_targets(views[0])
        if targets.is_floating_point():
            raise SensoriumError("It wants class ids.")
        tokens = encode.encode_tokens(views[0], encode.tokenize(views[0])).tokens
        nats = nn.functional.cross_entropy(self.head(tokens).flatten(0, 1).float(), targets.flatten(), reduction="sum")
        return Outcome(collectives.share(nats, collectives.count_rows(targets.flatten())))


class Numbers(Source):
    """Ten records."""

    fields = ("rows",)

    def __len__(self):
        return 10

    def key(self, index):
        if index >= 10:
            raise IndexError(index)
        return Record(f"r{index}", {}, {"even": index % 2})

    def __getitem__(self, index):
        key = self.key(index)
        return Record(key.id, {"rows": SAMPLES["rows"][0]}, key.labels)


class Twice(Numbers):
    """Uses one id for two records."""

    def key(self, index):
        key = super().key(index)
        return Record("r0" if index == 1 else key.id, {}, key.labels)


class OtherLabels(Numbers):
    """Its records have labels that their keys lack."""

    def __getitem__(self, index):
        return Record(f"r{index}", {}, {"odd": 1})


class Undeclared(Numbers):
    """Gives values under a name that it does not declare."""

    def __getitem__(self, index):
        key = self.key(index)
        return Record(key.id, {"secret": 1}, key.labels)


class Endless(Numbers):
    """Knows no end."""

    def key(self, index):
        return Record(f"r{index}", {}, {"even": index % 2})


class Nearest(Evaluator):
    """Accuracy of the nearest class mean."""

    def fit(self, train):
        if "planted" not in train.labels or isinstance(train.labels["planted"][0], float):
            raise SensoriumError("It needs classes.")
        labels, x = train.labels["planted"], train.features["first"]
        self.means = {c: x[labels == c].mean(0) for c in sorted(set(labels))}

    def measure(self, test):
        x = test.features["first"]
        near = min(self.means, key=str)
        guess = [min(self.means, key=lambda c: np.linalg.norm(row - self.means[c])) or near for row in x]
        return {"accuracy": float(np.mean(np.array(guess, object) == test.labels["planted"]))}

    def chance(self, test):
        return {"accuracy": 0.5}


class Guesses(Nearest):
    """Ignores the features."""

    def measure(self, test):
        return {"accuracy": 0.5}


class Unsteady(Nearest):
    """Gives other figures each time."""

    def measure(self, test):
        return {"accuracy": float(np.random.rand() + 0.5)}


class Stray(Nearest):
    """Names chance otherwise."""

    def chance(self, test):
        return {"acc": 0.5}


class Undocumented(Noise):
    """Says nothing of its option."""

    def __init__(self, modality, strength: float = 1.0, other=2): ...


class Needy(Numbers):
    """Cannot be built without a path.

    Args:
        path: where.
    """

    def __init__(self, path: str):
        self.path = path
