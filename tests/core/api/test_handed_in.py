"""Objects in place of registered parts: in a training, in the recipe of its run, and in all that follows."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import sensorium
from sensorium import Batch, Callback, Evaluator, Features, Tokens, View
from sensorium.errors import RecipeError, RunError
from sensorium.models.plain_parts import FunctionViews, features_of, takes_batch
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (40, 3, 16, 16), dtype=np.uint8)
SOURCE = {"image": IMAGES, "kind": np.arange(40) % 2}
SHORT = ["data.batch=8", "data.workers=0", "train.steps=4", "log.every=1"]
NAMED = {
    "data": {"batch": 8, "workers": 0},
    "modalities": {
        "image": {"modality": {"name": "image", "size": 16}, "views": "simclr", "encoder": {"name": "cnn", "width": 4}}
    },
    "objective": {"name": "simclr", "temperature": 0.3},
    "train": {"steps": 4, "accelerator": "cpu"},
    "log": {"every": 1},
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


def simclr():
    return sensorium.build("objective", "simclr", temperature=0.3)


def fit(folder, recipe=NAMED, overrides=(), **parts):
    return sensorium.fit(recipe, overrides, source=SOURCE, run_dir=folder, evaluate=False, **parts)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def equal(one, other):
    one, other = one.learner.state_dict(), other.learner.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed") / "run"
    return fit(folder, encoder=network(), views=noisy, objective=simclr())


def test_an_objective_that_is_handed_in_trains_in_the_bits_of_the_registered_one(tmp_path):
    named, handed = fit(tmp_path / "a"), fit(tmp_path / "b", objective=simclr())
    assert equal(named, handed)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    by_default = NAMED | {"objective": "simclr"}
    assert equal(fit(tmp_path / "c", by_default), fit(tmp_path / "d", objective=type(simclr())))


def test_views_modality_and_names_that_are_handed_in_do_likewise(tmp_path):
    image = sensorium.build("modality", "image", size=16)
    named = fit(tmp_path / "a")
    handed = fit(
        tmp_path / "b",
        None,
        ["train.steps=4", "data.batch=8", "data.workers=0", "train.accelerator=cpu"],
        modality={"image": image},
        views=sensorium.build("views", "simclr", image),
        encoder={"name": "cnn", "width": 4},
        objective={"name": "simclr", "temperature": 0.3},
    )
    assert equal(named, handed)
    kept = yaml.safe_load((tmp_path / "b" / "recipe.yaml").read_text())["modalities"]["image"]
    assert kept["encoder"] == {"name": "cnn", "width": 4}
    assert kept["views"] == {
        "name": "given",
        "class": "sensorium.modalities.image.views.simclr.SimCLRViews",
        "views": 2,
    }


def test_the_resolved_recipe_says_what_was_handed_in(trained):
    kept = yaml.safe_load(trained.run.recipe_file.read_text())
    assert kept["objective"] == {"name": "given", "class": "sensorium.plugins.contrastive.simclr.SimCLR"}
    tower = kept["modalities"]["image"]
    assert tower["encoder"] == {"name": "given", "class": "torch.nn.modules.container.Sequential", "dim": 8}
    assert tower["views"] == {"name": "given", "class": f"{__name__}.noisy", "views": 2}
    assert repr(trained).startswith("Model(image: Sequential, 8 features; SimCLR;")
    read_recipe(trained.run.recipe_file, load_extensions().registry)


def test_a_copy_is_trained_and_two_trainings_with_one_module_are_the_same(trained, tmp_path):
    module, before = network(), network().state_dict()
    first = fit(tmp_path / "a", encoder=module, views=noisy, objective=simclr())
    again = fit(tmp_path / "b", encoder=module, views=noisy, objective=simclr())
    assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)
    assert equal(first, again)
    assert equal(first, trained)
    assert not torch.equal(first.encoder("image")[0].weight, module[0].weight)
    untrained = first.plan.learner().encoders["image"].module
    assert torch.equal(untrained[0].weight, module[0].weight)


def test_a_resumed_training_with_objects_is_bit_equal(tmp_path):
    objects = {"encoder": network(), "views": noisy, "objective": simclr()}
    often = ["checkpoint.every=0.25", "checkpoint.keep=9", "train.steps=8"]
    whole = fit(tmp_path / "whole", overrides=often, **objects)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "model")
    later = sorted((tmp_path / "cut" / "checkpoints").glob("*.ckpt"))[1:]
    for path in later:
        path.unlink()
    resumed = sensorium.fit(resume=tmp_path / "cut", source=SOURCE, evaluate=False, **objects)
    assert equal(whole, resumed)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


NEEDED = r"needs objects that are handed in, for the encoder of 'image' \(torch\S*Sequential\), the objective"


def test_whatever_opens_a_run_says_what_to_hand_in_and_takes_it(trained, tmp_path):
    run, objects = trained.run.folder, {"encoder": network(), "objective": simclr()}
    with pytest.raises(RecipeError, match=f"{NEEDED}.*hand them in, as encoder={{'image': ...}}, objective=..., where"):
        sensorium.load(run)
    opened = sensorium.load(run, **objects)
    assert torch.equal(opened.embed(image=IMAGES[:4])["image"], trained.embed(image=IMAGES[:4])["image"])
    with pytest.raises(RecipeError, match=NEEDED):
        sensorium.evaluate(run, ["knn"], source=SOURCE)
    tables = sensorium.evaluate(run, ["knn"], ["evaluate.evaluators.knn.k=3"], source=SOURCE, **objects)
    assert "trained" in repr(tables)
    hits = sensorium.search(run, IMAGES[0], source=SOURCE, part="all", count=2, **objects)
    assert hits[0].score == pytest.approx(1, abs=1e-4)
    assert sensorium.mine(run, source=SOURCE, margin=0.0, ranks=(1, 5), **objects).about["run"] == str(run)
    sensorium.export(run, tmp_path / "out", **objects)
    with pytest.raises(RecipeError, match="for the encoder of 'image'"):
        sensorium.load_encoder(tmp_path / "out")
    modality, encoder = sensorium.load_encoder(tmp_path / "out", encoder=network())
    features = encoder(modality.collate([modality.decode(one) for one in IMAGES[:4]])).pooled
    assert torch.allclose(features, trained.embed(image=IMAGES[:4], space="features")["image"], atol=1e-6)
    with pytest.raises(RecipeError, match=f"for the views of 'image' \\({__name__}.noisy\\)"):
        sensorium.fit(resume=run, overrides=["train.steps=5"], source=SOURCE, evaluate=False, **objects)


def test_a_fine_tuning_keeps_what_was_handed_in(trained, tmp_path):
    objects = {"encoder": network(), "objective": simclr()}
    short = [
        "finetune.trees=2",
        "finetune.epochs=1",
        "finetune.seeds=1",
        "finetune.labels=[kind]",
        "data.val=0.2",
        "data.test=0.2",
    ]
    tuned = sensorium.finetune(trained.run.folder, short, source=SOURCE, run_dir=tmp_path / "f", **objects)
    opened = sensorium.load_predictor(tmp_path / "f", **objects)
    assert opened.predict(IMAGES[:2]) == tuned.predictor.predict(IMAGES[:2])
    with pytest.raises(RecipeError, match=NEEDED):
        sensorium.load_predictor(tmp_path / "f")


def test_what_does_not_fit_a_run_is_said(trained):
    run = trained.run.folder
    wide = nn.Sequential(nn.Conv2d(3, 9, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(RunError, match=r"do not fit its recipe.*\(8, 3, 3, 3\) instead of \(9, 3, 3, 3\)"):
        sensorium.load(run, encoder=wide, objective=simclr())
    with pytest.raises(RecipeError, match="There is no part 'encodr' to hand in, did you mean 'encoder'"):
        sensorium.load(run, encodr=wide)


def test_a_part_that_the_run_names_is_not_handed_in(tmp_path):
    fit(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"The objective is a registered part in the run's recipe.*: leave it out"):
        sensorium.load(tmp_path / "run", objective=simclr())


def built():
    objective = simclr()
    encoder = sensorium.build("encoder", "cnn", modality="image", width=2)
    sensorium.Learner({"image": encoder}, objective)
    return objective


class Uncopyable(nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError("it holds a file")


class Rows(nn.Module):
    """Tokens of rows of pixels, encoded together; a causal one only by its own word."""

    def __init__(self, is_causal):
        super().__init__()
        self.is_causal, self.embed = is_causal, nn.Linear(48, 8)

    def tokenize(self, x):
        return self.embed(x.transpose(1, 2).flatten(2))

    def encode_tokens(self, tokens, keep=None):
        x = (tokens if keep is None else tokens.take(keep)).x
        return x + x.mean(1, keepdim=True)

    def token_targets(self, x):
        return x.transpose(1, 2).flatten(2)


class OfTensors(Rows):
    def encode_tokens(self, tokens, keep=None):
        return tokens.float()


class NoMean(sensorium.Objective):
    needs = sensorium.Needs(views=2)

    def build(self, encoders):
        pass

    def forward(self, views, encode):
        return sensorium.Outcome(encode(views)[0].pooled.square().mean(1))


class SimCLRViewsOfTwo(sensorium.ViewGenerator):
    def __init__(self, modality, size):
        self.size = size

    def __call__(self, batch, rng):
        return [View(batch)]


class Needy(Evaluator):
    def __init__(self, size):
        self.size = size

    def fit(self, train):
        pass

    def measure(self, test):
        return {}

    def chance(self, test):
        return {}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"encoder": 5}, "The encoder of 'image' is an object of type int: hand in a torch.nn.Module"),
        ({"encoder": lambda: 5}, "returned an object of type int, not a torch.nn.Module"),
        ({"encoder": nn.LazyLinear(4)}, "has lazy layers without weights: run it on a batch first"),
        ({"encoder": Uncopyable()}, r"cannot be copied \(it holds a file\): hand in a class or a function"),
        ({"encoder": nn.Linear(3, 4)}, r"cannot encode a batch: RuntimeError.*a tensor float32 \(1, 3, 16, 16\)"),
        (
            {"encoder": Rows(is_causal=True), "views": "plain", "objective": "mae"},
            "Rows, says is_causal, but its tokens change with those after them: mask its attention",
        ),
        (
            {"encoder": OfTensors(is_causal=False), "views": "plain", "objective": "mae"},
            r"cannot encode a batch.*and its encode_tokens with sensorium.Tokens, whose x are the tokens \(B, T, D\)",
        ),
        (
            {"objective": [{"name": simclr(), "k": 3}, "vicreg"]},
            r"The objective.0 is an object, whose options are set already, so that k cannot stand beside it",
        ),
        (
            {"encoder": nn.Upsample(2), "views": "random-patch-mask", "objective": "mae"},
            "needs tokens, but modalities.image.encoder 'Upsample'",
        ),
        ({"encoder": nn.Unflatten(1, (3, 1))}, r"returned a tensor float32 \(1, 3, 1, 16, 16\): an encoder returns"),
        ({"objective": 5}, "The objective is an object of type int: hand in a sensorium.Objective"),
        ({"objective": built()}, "The objective is a SimCLR that is built already, for another learner"),
        ({"views": 5}, "The views of 'image' is an object of type int: hand in a sensorium.ViewGenerator"),
        ({"views": lambda x: [x]}, "returned 1 views, but the objective takes 2 of each record"),
        ({"views": lambda x: x[:1, :1][0]}, "as a view of 2 records"),
        ({"views": lambda x, rng: x}, r"is called with \(batch\), but takes \(x, rng\): hand in a function of one"),
        (
            {"views": SimCLRViewsOfTwo},
            r"is called with \(modality\), but takes \(modality, size\): hand in an instance",
        ),
        ({"encoder": lambda modality, dim: network()}, r"is called with \(modality\), but takes \(modality, dim\)"),
        ({"objective": sensorium.losses.nt_xent}, r"losses\S*nt_xent, is a loss .* whose `forward` computes it"),
        ({"objective": nn.CrossEntropyLoss()}, "CrossEntropyLoss, is a loss or another module, not an objective"),
        ({"objective": nn.CrossEntropyLoss}, "CrossEntropyLoss, is a loss or another module, not an objective"),
        ({"objective": lambda x, y: x}, r"is called without arguments, but takes \(x, y\): hand in a sensorium.Obj"),
        ({"objective": lambda: 5}, "returned an object of type int, not a sensorium.Objective"),
        (
            {"optimizer": lambda weights: torch.optim.AdamW(weights)},
            "called with the learner as 'weights'.*begins with",
        ),
        ({"schedule": lambda s: 1.0}, r"is called with \(step, steps\), but takes \(s\): hand in a function of \(step"),
        (
            {"schedule": torch.optim.lr_scheduler.StepLR},
            r"the class \S*StepLR, which is no sensorium.Schedule: hand in",
        ),
        ({"evaluators": Needy}, r"'needy', \S*Needy, is called without arguments, but takes \(size\): hand in an inst"),
        ({"optimizer": 5}, "The optimizer is an object of type int: hand in a function of parameters"),
        ({"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters())}, "is an instance of SGD, which holds parameters"),
        ({"optimizer": lambda params: params}, r"The optimizer '<lambda>' returned \["),
        ({"schedule": lambda step, steps: -1}, "'<lambda>' gives the factor -1 at step 0 of 100"),
        ({"schedule": 5}, r"hand in a function of \(step, steps\)"),
        ({"modality": 5}, "The modality of 'image' is an object of type int"),
        ({"evaluators": {"mine": 5}}, "The evaluator 'mine' is an object of type int"),
        ({"encoder": {"imag": nn.Flatten()}}, "modalities.imag"),
        ({"objective": "simcrl"}, "did you mean 'simclr'"),
    ],
)
def test_what_is_no_part_is_refused_in_one_sentence(parts, said, tmp_path):
    with pytest.raises(sensorium.SensoriumError, match=said):
        fit(tmp_path / "run", **parts)


def test_without_a_recipe_what_is_missing_is_said(tmp_path):
    with pytest.raises(RecipeError, match="key 'objective' is missing"):
        fit(
            tmp_path / "run",
            None,
            SHORT,
            modality={"image": "image"},
            views={"image": "simclr"},
            encoder={"image": network()},
        )
    with pytest.raises(RecipeError, match="The recipe has no modality: hand in encoder= as a mapping"):
        fit(tmp_path / "run", None, SHORT, encoder=network(), objective="simclr")


class Patches(nn.Module):
    """A transformer of one layer over patches of 4 x 4 pixels, which knows nothing of sensorium but tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.layer = nn.Linear(48, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def tokenize(self, x):
        return self.embed(self.token_targets(x))

    def encode_tokens(self, tokens, keep=None):
        tokens = tokens if keep is None else tokens.take(keep)
        return self.layer(tokens.x + tokens.positions)

    def token_targets(self, x):
        return nn.functional.unfold(x, 4, stride=4).transpose(1, 2)


def test_a_module_with_tokens_trains_a_masked_objective(tmp_path):
    views = {"name": "random-patch-mask", "patch": 4}
    model = fit(tmp_path / "run", encoder=Patches, views=views, objective={"name": "mae", "width": 16, "depth": 1})
    part = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["modalities"]["image"]["encoder"]
    assert part == {"name": "given", "class": f"{__name__}.Patches", "dim": 16, "token_dim": 16, "target_dim": 48}
    opened = sensorium.load(tmp_path / "run", encoder=Patches)
    assert equal(model, opened)


class OfBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 4)

    def forward(self, batch: "Batch"):
        return {"pooled": self.map(batch.unit_pixels().mean((2, 3)))}


def test_a_factory_draws_its_first_weights_from_the_seed_of_the_recipe(tmp_path):
    models = [
        fit(tmp_path / str(i), overrides=[f"seed={seed}"], encoder=lambda: OfBatch())
        for i, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (model.plan.learner().encoders["image"].module.map.weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_argument_that_is_annotated_so_takes_the_batch():
    def of_any(x): ...
    def of_batch(x: Batch): ...
    def of_text(x: "sensorium.Batch"): ...

    assert [takes_batch(one) for one in (of_any, of_batch, of_text)] == [False, True, True]
    assert [takes_batch(one) for one in (OfBatch().forward, OfBatch(), nn.Linear(1, 1), lambda x: x)] == [
        *(True, True, False, False)
    ]


def test_what_modules_return_becomes_features():
    x_BTD = torch.arange(24.0).reshape(2, 3, 4)
    mask_BT = torch.tensor([[True, True, False], [True, False, False]])
    tokens = Tokens(x_BTD, x_BTD, mask_BT)
    masked = features_of(x_BTD, tokens, "m")
    assert torch.equal(masked.pooled, torch.stack([x_BTD[0, :2].mean(0), x_BTD[1, 0]]))
    hugging_face = features_of({"last_hidden_state": x_BTD, "pooler_output": x_BTD[:, 0]}, Tokens(x_BTD, x_BTD), "m")
    assert torch.equal(hugging_face.pooled, x_BTD[:, 0])
    assert torch.equal(hugging_face.tokens, x_BTD)
    map_BDHW = torch.arange(16.0).reshape(1, 4, 2, 2)
    assert torch.equal(features_of(map_BDHW, tokens, "m").pooled, map_BDHW.mean((2, 3)))
    features = Features(x_BTD[:, 0])
    assert features_of(features, tokens, "m") is features
    for wrong in (5, torch.zeros(2, dtype=torch.int64), torch.zeros(2), {"x": x_BTD}):
        with pytest.raises(RecipeError, match="The encoder m returned"):
            features_of(wrong, tokens, "m")


def test_a_function_of_views_never_changes_the_batch_and_draws_from_the_generator_alone():
    image = sensorium.build("modality", "image", size=16)
    batch = image.collate([image.decode(one) for one in IMAGES[:3]])
    floats = batch.with_tensor(batch.as_tensor())

    def in_place(x):
        return x.add_(torch.rand(len(x), 1, 1, 1)).add_(np.random.rand())

    before, state = floats.pixels.clone(), torch.get_rng_state()
    views = [FunctionViews(image, in_place, 2)(floats, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(floats.pixels, before)
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = ([view.batch.pixels for view in made] for made in views)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    (view,) = FunctionViews(image, lambda x: View(floats), 1)(batch, torch.Generator())
    assert view.batch is floats


def test_a_function_that_augments_all_records_of_a_batch_alike_is_told(tmp_path, caplog):
    fit(tmp_path / "a", encoder=network(), views=noisy)
    assert "alike" not in caplog.text
    fit(tmp_path / "b", encoder=network(), views=lambda x: x + torch.rand(1))
    assert "draws once for a whole batch, so that all of its records are augmented alike" in caplog.text


def test_an_optimizer_and_a_schedule_are_handed_in(tmp_path):
    named = {"name": "sgd", "lr": 0.05, "weight_decay": 0.0, "momentum": 0.0, "schedule": "constant", "warmup": 0.0}
    fit(tmp_path / "a", NAMED | {"optimizer": named})
    parts = {"optimizer": lambda params: torch.optim.SGD(params, lr=0.05), "schedule": lambda step, steps: 1}
    second = fit(tmp_path / "b", overrides=["optimizer.warmup=0"], **parts)
    third = fit(tmp_path / "c", NAMED | {"optimizer": named}, optimizer=torch.optim.SGD)
    of_learner = fit(
        tmp_path / "d", NAMED | {"optimizer": named}, optimizer=lambda x, lr: torch.optim.SGD(x.parameters(), lr)
    )
    assert equal(second, third)
    assert equal(second, of_learner)
    assert losses(tmp_path / "a") == pytest.approx(losses(tmp_path / "b"), rel=1e-5), "norms add up in another order"
    kept = yaml.safe_load((tmp_path / "b" / "recipe.yaml").read_text())["optimizer"]
    assert (kept["name"], kept["lr"], kept["weight_decay"]) == ("given", 0.05, 0)
    assert kept["schedule"]["name"] == "given"
    assert equal(sensorium.load(tmp_path / "b"), second), "a run is opened without its optimizer"
    with pytest.raises(
        RecipeError, match=r"for the optimizer \(.*\), the schedule \(.*as optimizer=..., schedule=..., where"
    ):
        sensorium.fit(resume=tmp_path / "b", overrides=["train.steps=5"], source=SOURCE)
    sensorium.fit(resume=tmp_path / "b", overrides=["train.steps=5"], source=SOURCE, evaluate=False, **parts)


class Seen(Callback):
    """Keeps the losses of all steps."""

    def __init__(self):
        self.losses = []

    def after_step(self, training, outcome, loss):
        self.losses.append(loss.item())

    def state_dict(self):
        return {"losses": self.losses}

    def load_state_dict(self, state):
        self.losses = state["losses"]


def test_callbacks_are_handed_in_and_seen_through(tmp_path):
    seen, other = Seen(), Seen()
    fit(tmp_path / "run", callbacks=[seen, other])
    assert seen.losses == losses(tmp_path / "run") == other.losses
    kept = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["callbacks"]
    assert kept == {name: {"name": "given", "class": f"{__name__}.Seen"} for name in ("seen", "seen-2")}
    assert sensorium.load(tmp_path / "run")
    with pytest.raises(
        RecipeError, match=r"for the callback 'seen' .*hand them in, as callbacks={'seen': ...}, callbacks"
    ):
        sensorium.fit(resume=tmp_path / "run", overrides=["train.steps=6"], source=SOURCE, evaluate=False)
    again = Seen()
    parts = {"seen": again, "seen-2": Seen}
    sensorium.fit(resume=tmp_path / "run", overrides=["train.steps=6"], source=SOURCE, evaluate=False, callbacks=parts)
    assert len(again.losses) == 6
    with pytest.raises(RecipeError, match="The callback 'int' is an object of type int"):
        fit(tmp_path / "other", callbacks=[5])


def test_one_callback_is_handed_in_without_a_list_and_names_as_they_are(tmp_path):
    seen = Seen()
    fit(tmp_path / "one", callbacks=seen)
    assert len(seen.losses) == 4
    for number, handed in enumerate(("time-limit", ["time-limit"], {"name": "time-limit"})):
        with pytest.raises(RecipeError, match="The callback 'time-limit' needs hours or minutes above 0"):
            fit(tmp_path / f"named-{number}", callbacks=handed)


class Constant(sensorium.Schedule):
    def __call__(self, step, steps):
        return 1.0


def test_a_schedule_is_a_function_an_instance_or_a_class(tmp_path):
    runs = [fit(tmp_path / str(n), schedule=one) for n, one in enumerate((Constant, Constant(), lambda a, b: 1.0))]
    assert equal(runs[0], runs[1])
    assert equal(runs[0], runs[2])


class Count(Evaluator):
    """Number of measured records."""

    def fit(self, train):
        pass

    def measure(self, test):
        return {"records": float(len(test))}

    def chance(self, test):
        return {"records": 0.0}


def test_evaluators_are_handed_in_to_a_training_and_to_an_evaluation(tmp_path):
    sensorium.fit(NAMED, ["data.test=0.2"], source=SOURCE, run_dir=tmp_path / "run", evaluators=[Count(), "knn"])
    assert (tmp_path / "run" / "evaluations" / "knn.json").is_file()
    table = json.loads((tmp_path / "run" / "evaluations" / "count.json").read_text())
    assert "records" in json.dumps(table)
    tables = sensorium.evaluate(tmp_path / "run", {"mine": Count, "knn": {"k": 3}}, source=SOURCE)
    assert tables["mine"].row("trained").metrics["records"].mean == 5
    assert set(tables) == {"mine", "knn"}
    with pytest.raises(RecipeError, match=r"for the evaluator 'count' \(.*Count\).*as evaluators=\{'count': ...\}"):
        sensorium.evaluate(tmp_path / "run", source=SOURCE)


@pytest.mark.parametrize("objective", [NoMean(), [NoMean(), "simclr"]])
def test_a_loss_that_is_no_scalar_is_named(tmp_path, objective):
    with pytest.raises(sensorium.SensoriumError, match=r"loss of an Outcome has the shape \(8,\), and it is a scalar"):
        fit(tmp_path / "run", objective=objective)


def test_tokens_of_a_module_are_learned_from(tmp_path):
    fit(tmp_path / "run", encoder=Rows(is_causal=False), views="plain", objective="mae")
    assert np.isfinite(losses(tmp_path / "run")).all()


def test_the_folder_of_a_refused_training_is_used_again(tmp_path):
    source = {"timeseries": list(RNG.normal(size=(40, 3, 16)).astype(np.float32))}
    recipe = {**NAMED, "modalities": {"timeseries": {}}}
    given = {"source": source, "views": noisy, "run_dir": tmp_path / "run", "evaluate": False}
    with pytest.raises(RecipeError, match="cannot encode a batch"):
        sensorium.fit(recipe, encoder=nn.Linear(3, 4), **given)
    assert not (tmp_path / "run").exists()
    sensorium.fit(recipe, encoder=nn.Sequential(nn.Conv1d(3, 8, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()), **given)
