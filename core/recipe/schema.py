"""The fields of a recipe, each with its help text.

Names of parts are resolved, and their options checked, by `sensorium.models.plan`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator


class Section(BaseModel):
    """A mapping of known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(BaseModel):
    """A registered thing by name, with its options; a bare string is a name without options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="the registered name; `sensorium list` shows them")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class MinedNegatives(Section):
    """Mined negatives, which the objective meets as wrong values of the modality they were mined in."""

    path: str = Field(description="the Parquet file that `sensorium mine` wrote")
    count: PositiveInt = Field(1, description="negatives of each record, hardest first")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class Data(Section):
    """Where records come from and how they are fed."""

    source: Part | None = Field(None, description="the source of records; None when `fit` is handed one")
    negatives: MinedNegatives | None = Field(
        None, description="mined negatives of the records: a file, or path and count"
    )
    neighbors: str | None = Field(
        None, description="a Parquet file that `sensorium mine` wrote: records and their negatives come in one batch"
    )
    batch: PositiveInt = Field(256, description="records of one optimizer step, over all devices and accumulated parts")
    val: float = Field(0.1, ge=0, lt=1, description="share of records kept for evaluation during training")
    test: float = Field(0.1, ge=0, lt=1, description="share of records kept for the final evaluation")
    split_seed: int = Field(
        0, description="what the split hangs on, apart from the ids; the run's seed does not move it"
    )
    workers: NonNegativeInt | Literal["auto"] = Field(
        "auto", description="loader processes of each rank; auto: the cores, at most 8"
    )
    cache: Literal["off", "ram", "device"] = Field("off", description="keep decoded records in memory or on the device")
    max_bad: float = Field(
        0.01, ge=0, le=1, description="share of records that may fail to decode before the run stops"
    )


class Tower(Section):
    """One modality of a run: how its values are read, viewed and encoded."""

    modality: Part | None = Field(None, description="the modality and its options; default: named as the key")
    field: str | None = Field(
        None, description="the source's field that holds its raw values; default: named as the key"
    )
    views: Part = Field(description="the view generator and its options")
    encoder: Part = Field(description="the encoder and its options")
    frozen: bool = Field(False, description="keep the encoder's weights as they start")
    unfreeze: tuple[float, float] | None = Field(
        None,
        description="shares of the training between which the encoder's weights, held at first, are freed, last first",
    )

    @model_validator(mode="after")
    def _unfreezes_a_trainable_encoder(self) -> Self:
        if self.unfreeze is not None and (self.frozen or not 0 <= self.unfreeze[0] <= self.unfreeze[1] <= 1):
            raise ValueError("unfreeze is two fractions of the training, the smaller first, and goes without frozen")
        return self


class Optimizer(Section):
    """How weights move."""

    name: Literal["adamw", "sgd", "lars"] = Field("adamw", description="the rule")
    lr: PositiveFloat | Literal["auto"] = Field(
        1e-3, description="the peak learning rate; auto: by the rule and data.batch, 1e-3 for adamw and a batch of 256"
    )
    weight_decay: float = Field(0.05, ge=0, description="decay of matrices; biases, norms and scalars are spared")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd and lars")
    betas: tuple[float, float] = Field((0.9, 0.98), description="moment decays of adamw")
    eps: PositiveFloat = Field(1e-6, description="the stabilizer of adamw")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="how the rate goes after the warm-up")
    warmup: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        0.05, description="share of the steps over which the rate rises from zero; auto: 100 steps, .05 to .3 of them"
    )
    min_lr_ratio: float = Field(
        0.0, ge=0, le=1, description="the last learning rate of the cosine, as a fraction of the peak"
    )


class Train(Section):
    """How long, where and in which arithmetic."""

    epochs: PositiveFloat | None = Field(None, description="passes over the train part; this or `steps`")
    steps: PositiveInt | None = Field(None, description="optimizer steps; this or `epochs`")
    warm_start: str | None = Field(
        None,
        description="another run's folder: its encoders, and the heads of the same objective, are where this begins",
    )
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="the kind of device")
    devices: PositiveInt | Literal["auto"] = Field(1, description="processes on each node, one a device")
    nodes: PositiveInt = Field(1, description="machines")
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto", description="auto: ddp for several processes; fsdp shards weights"
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        "auto", description="auto: bf16-mixed on GPUs that have it, 32-true elsewhere"
    )
    accumulate: PositiveInt = Field(
        1, description="parts that one batch is cut into; contrastive losses then see one part's negatives"
    )
    gradient_cache: bool = Field(
        False,
        description="with accumulate: one loss over all parts, so that negatives are those of the whole batch; "
        "every part is encoded twice",
    )
    grad_clip: PositiveFloat | None = Field(1.0, description="the gradient is clipped to this norm; None leaves it")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of averaged weights, which evaluation and export then use"
    )
    compile: bool = Field(False, description="compile the learner with torch.compile")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps; set the other to null, as in train.epochs=null")
        return self

    @model_validator(mode="after")
    def _cache_has_parts(self) -> Self:
        if self.gradient_cache and self.accumulate == 1:
            raise ValueError("gradient_cache joins the parts of a batch: set accumulate to 2 or more")
        if self.gradient_cache and self.compile:
            raise ValueError("gradient_cache runs encoders twice by hand, which compile cannot follow: leave one off")
        return self


class Checkpoints(Section):
    """What is kept of a run on its way."""

    every: PositiveFloat = Field(1.0, description="epochs between checkpoints; fractions allowed")
    keep: PositiveInt = Field(2, description="how many of the last checkpoints to keep")
    best: str | None = Field(
        None, description="figure whose best checkpoint is kept too, as TABLE/FIGURE, such as knn/accuracy"
    )
    mode: Literal["max", "min"] = Field("max", description="whether the best is the largest or the smallest")


class Evaluate(Section):
    """What is measured."""

    evaluators: dict[str, Part] = Field(
        {},
        description="table name to an evaluator and its options, run at the end and by `sensorium evaluate`",
    )
    every: PositiveFloat | None = Field(
        None, description="epochs between evaluations on the val part; None: only at the end"
    )
    probe: PositiveInt = Field(10_000, description="records of the train part that evaluations on the way learn from")
    batch: PositiveInt = Field(256, description="records encoded at once")

    @model_validator(mode="before")
    @classmethod
    def _named_by_key(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("evaluators"), dict):
            named = {
                key: {"name": key, **(given or {})} if given is None or isinstance(given, dict) else given
                for key, given in value["evaluators"].items()
            }
            return {**value, "evaluators": named}
        return value


class Monitor(Section):
    """What is watched on the way, so that no run trains for a day on nothing."""

    every: PositiveInt = Field(20, description="steps between looks at features, teachers and codes")
    on_collapse: Literal["warn", "stop"] = Field(
        "warn", description="what happens when they have collapsed: a warning once, or the end of the run"
    )
    patience: PositiveInt = Field(5, description="looks in a row that must find a collapse before anything is said")
    std: float = Field(
        0.03, ge=0, description="least deviation of normalized features times sqrt(D): 0 for a point, 1 for a sphere"
    )
    rank: float = Field(1.3, ge=0, description="least effective rank of features (RankMe), from 1 up to their width")
    information: float = Field(
        0.01, ge=0, description="least nats that a teacher's target, or a code, tells of which record it belongs to"
    )
    codes: float = Field(1.5, ge=0, description="least perplexity of the prototypes or codes in use")
    skips: NonNegativeInt = Field(
        10, description="steps without a finite loss and gradient that are skipped; one more stops the run"
    )


class Finetune(Section):
    """How `sensorium finetune` trains an encoder, and a small head on it, on labels."""

    task: Literal["classify", "multitask", "regress"] = Field(
        "classify",
        description="one of several classes; yes or no in many label columns, any missing; or a number",
    )
    labels: list[str] | None = Field(
        None, description="label columns to predict: one, or many for multitask; None takes the only one, or all"
    )
    modality: str | None = Field(None, description="whose encoder is tuned; None takes the only one")
    epochs: PositiveInt = Field(50, description="passes over the train part")
    batch: PositiveInt = Field(32, description="records of one step")
    freeze_epochs: NonNegativeInt = Field(0, description="epochs at the start in which the head alone learns")
    width: NonNegativeInt = Field(0, description="hidden width of the head; 0 makes it linear")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the head's inputs that are dropped")
    optimizer: Optimizer = Field(Optimizer(), description="how weights move; its lr is the head's")
    encoder_lr: PositiveFloat = Field(1e-4, description="the peak learning rate of the encoder")
    seeds: PositiveInt = Field(3, description="how often it is done, with another head and another order")
    trees: PositiveInt = Field(500, description="trees of the random forest on baseline features, for comparison")


class Log(Section):
    """What is written on the way."""

    every: PositiveInt = Field(10, description="steps between records of metrics")
    tensorboard: bool = Field(True, description="write TensorBoard events beside the JSON lines")
    wandb: str | None = Field(None, description="name of a Weights & Biases project to log to")
    gallery: PositiveInt = Field(8, description="records of the first batch whose views are drawn")


class Recipe(Section):
    """The complete description of one run."""

    name: str = Field("run", description="what run folders are named after")
    seed: int = Field(0, description="what every random draw of the run hangs on")
    plugins: list[str] = Field([], description="plugins that must be loaded, by name, for the run to start")
    data: Data = Field(description="where records come from")
    modalities: dict[str, Tower] = Field(
        min_length=1, description="name to how that modality is read, viewed and encoded"
    )
    objective: Part = Field(description="the objective and its options")
    optimizer: Optimizer = Field(Optimizer(), description="how weights move")
    train: Train = Field(description="how long, where and in which arithmetic")
    checkpoint: Checkpoints = Field(Checkpoints(), description="what is kept on the way")
    evaluate: Evaluate = Field(Evaluate(), description="what is measured")
    monitor: Monitor = Field(Monitor(), description="what is watched on the way")
    finetune: Finetune = Field(Finetune(), description="how `sensorium finetune` trains on labels")
    log: Log = Field(Log(), description="what is written on the way")

    @model_validator(mode="after")
    def _best_is_measured(self) -> Self:
        if self.checkpoint.best and self.evaluate.every is None:
            raise ValueError("checkpoint.best needs evaluate.every")
        return self

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain YAML values."""
        return self.model_dump(mode="json")
