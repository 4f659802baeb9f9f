"""The fields of a recipe, each with its help text.

Names of parts are resolved, and their options checked, by `sensorium.models.plan`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sensorium.recipe.data import Data
from sensorium.recipe.parts import (
    Counts,
    EncoderPart,
    Fractions,
    Generators,
    NamedParts,
    Objectives,
    Part,
    Section,
    Term,
)


class Lora(Section):
    """Low-rank adapters (LoRA, Hu et al. 2022) of linear maps, whose own weights, like all others, are frozen."""

    rank: PositiveInt = Field(8, description="rank of the update of each weight")
    alpha: PositiveFloat = Field(16.0, description="alpha / rank is the factor of the update, > 0")
    targets: Literal["all", "attention"] | list[str] = Field(
        "all",
        description="which linear maps: all, those of attention, or a list of their names, or ends or patterns of "
        'names, such as [qkv, "blocks.1?.mlp.*"]',
    )
    bias: bool = Field(False, description="train biases, too")
    norms: bool = Field(False, description="train weights and biases of norms, too")


class FrozenTeacher(Section):
    """A frozen encoder whose features an objective learns to predict: a path stands for its weights."""

    weights: str | None = Field(
        None,
        description="the teacher's weights: a run, whose encoder it then has too; a file, a folder or hub:NAME; "
        "None: those of its model where that is a folder; random: none",
    )
    encoder: Part | None = Field(
        None, description="the teacher's encoder and its options; None: that of the run that the weights are of"
    )
    dim: PositiveInt | None = Field(None, description="width of its features; the training notes it")
    token_dim: PositiveInt | None = Field(None, description="width of its tokens; the training notes it")
    grid: tuple[int, int] | None = Field(None, description="rows and columns of its tokens; the training notes them")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"weights": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if self.weights is None and self.encoder is None:
            raise ValueError("name a run, or an encoder and its weights: {encoder: NAME, weights: PATH}")
        return self


class Tower(Section):
    """One modality of a run: its decoding, views and encoder."""

    modality: Part | None = Field(None, description="the modality and its options; default: the one of the key's name")
    field: str | None = Field(
        None, description="the source's field of its raw values; default: the one of the key's name"
    )
    views: Generators = Field(
        description="the view generator and its options; or a list of several, of which each objective sees its own"
    )
    encoder: EncoderPart = Field(
        description="the encoder and its options; or {share: OTHER}, the encoder of another tower of the same modality"
    )
    weights: str | None = Field(
        None,
        description="weights that the encoder starts from: a file, a folder, a run, or hub:NAME, which is downloaded; "
        "None: those of its model where that is a folder; random: none",
    )
    frozen: bool | int = Field(
        False,
        description="true freezes the encoder: its weights are not trained; a number freezes its embeddings and that "
        "many of its blocks, from the first",
    )
    unfreeze: tuple[float, float] | None = Field(
        None,
        description="gradual unfreezing, last layer first: its start and end as fractions of the training",
    )

    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor of the learning rate from each block of the encoder to the one before it, in (0, 1]; what "
        "is behind the blocks has the full rate, as heads have",
    )
    lora: Lora | None = Field(
        None, description="low-rank adapters are trained in place of the encoder's weights; {} has the defaults"
    )
    teacher: FrozenTeacher | None = Field(
        None,
        description="a frozen encoder for objectives that predict its features: a run, or an encoder and its weights",
    )

    def generators(self) -> dict[str, Part]:
        """Return the view generators by key of the tower: "views", or "views.0" and so on of several."""
        of = self.views
        return {"views": of} if isinstance(of, Part) else {f"views.{i}": part for i, part in enumerate(of)}

    @property
    def views_in_words(self) -> str:
        """The view generators as they are said: "plain and simclr"."""
        return " and ".join(map(str, self.generators().values()))

    @model_validator(mode="after")
    def _leaves_the_encoder_to_its_tower(self) -> Self:
        own = ("weights", "frozen", "unfreeze", "layer_decay", "lora", "teacher")
        given = [key for key in own if getattr(self, key) is not None and getattr(self, key) is not False]
        if self.encoder.share is not None and given:
            belongs = "belongs" if len(given) == 1 else "belong"
            raise ValueError(
                f"{' and '.join(given)} {belongs} to the tower that has the encoder, '{self.encoder.share}'"
            )
        return self

    @model_validator(mode="after")
    def _trains_what_is_not_frozen(self) -> Self:
        if self.frozen < 0:
            raise ValueError(f"frozen is true, false or a number of blocks, at least 0; not {self.frozen}")
        if self.unfreeze is not None and (self.frozen is True or not 0 <= self.unfreeze[0] <= self.unfreeze[1] <= 1):
            raise ValueError("unfreeze is two fractions of the training, the smaller first, and excludes frozen=true")
        if self.lora is not None and self.frozen is True:
            raise ValueError("lora freezes the encoder's own weights by itself, and trains adapters: leave frozen out")
        return self


class Optimizer(Section, Part):
    """The optimizer by name, its learning rate and schedule; all other keys are the optimizer's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field("adamw", description="the registered name; `sensorium list optimizers` shows them")
    lr: PositiveFloat | Literal["auto"] = Field(
        1e-3,
        description="peak learning rate, > 0; auto: the optimizer's rule by data.batch, 1e-3 for adamw at batch 256",
    )
    weight_decay: float = Field(0.05, ge=0, description="weight decay of matrices; biases, norms and scalars have none")
    schedule: Part = Field(
        Part(name="cosine"),
        description="learning rate schedule after the warm-up; `sensorium list schedules` shows them",
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] | PositiveInt | Literal["auto"] = Field(
        0.05,
        description="linear warm-up: below 1 a fraction of the steps, else a number of steps; auto: 100 steps, but "
        "0.05 to 0.3 of them",
    )


class Train(Section):
    """Duration, devices, parallelism and precision."""

    epochs: PositiveFloat | None = Field(None, description="passes over the train part; this or `steps`")
    steps: PositiveInt | None = Field(None, description="optimizer steps; this or `epochs`")
    warm_start: str | None = Field(
        None,
        description="folder of another run whose encoders (and heads, for the same objective) initialize this one",
    )
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto",
        description="the accelerator; auto: cuda where there is one, else cpu. mps has no fp64, which some views and "
        "losses need",
    )
    devices: PositiveInt | Literal["auto"] = Field(1, description="processes per node, one per device")
    nodes: PositiveInt = Field(1, description="number of nodes")
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto", description="ddp replicates weights, fsdp shards them; auto: ddp for several processes"
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        "auto",
        description="mixed precision is autocast: inputs, weights, losses and running statistics stay in fp32; auto: "
        "bf16-mixed on GPUs that support it, else 32-true",
    )
    matmul_precision: Literal["highest", "high"] = Field(
        "highest",
        description="matrix products and convolutions of fp32 on CUDA, those of losses included: highest is fp32, "
        "high is TF32, faster with 10 bits of mantissa",
    )
    deterministic: bool = Field(
        False,
        description="deterministic algorithms: a resumed run is bit-equal on a GPU too, as it is on a CPU; slower",
    )
    accumulate: PositiveInt = Field(
        1, description="gradient accumulation: parts per batch; contrastive losses see the negatives of one part only"
    )
    gradient_cache: bool = Field(
        False,
        description="with accumulate: one loss over all parts (GradCache), with the negatives of the whole batch; "
        "every part is encoded twice",
    )
    grad_clip: PositiveFloat | None = Field(1.0, description="maximum gradient norm, > 0; None: no clipping")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the EMA of weights, which evaluation and export then use"
    )
    timeout: PositiveFloat = Field(
        600.0,
        description="of several processes: seconds without a sign of life, or behind the step of the others, after "
        "which one of them hangs, and the training stops, > 0",
    )
    sync_batch_norm: bool = Field(
        True, description="batch norm over the rows of all ranks, as in one process; false: each rank over its own"
    )
    gradient_checkpointing: bool = Field(
        False,
        description="keep the input of each block of trained encoders alone, and compute the block again in the "
        "backward pass: less memory for about a third more time",
    )
    compile: bool = Field(False, description="compile the learner with torch.compile")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            given = "neither is given" if self.steps is None else f"not epochs={self.epochs:g} and steps={self.steps}"
            raise ValueError(f"give exactly one of epochs and steps, {given}")
        return self

    @model_validator(mode="after")
    def _cache_has_parts(self) -> Self:
        if self.gradient_cache and self.accumulate == 1:
            raise ValueError("gradient_cache joins the parts of a batch: set accumulate to 2 or more")
        if self.gradient_cache and self.compile:
            raise ValueError("gradient_cache does not work with compile: turn one of them off")
        return self


class Checkpoint(Section):
    """Which checkpoints are written and kept, and how."""

    every: PositiveFloat = Field(1.0, description="epochs between checkpoints, > 0; may be a fraction")
    keep: PositiveInt = Field(2, description="number of latest checkpoints to keep")
    best: str | None = Field(
        None, description="metric whose best checkpoint is kept too, as TABLE/METRIC, such as knn/accuracy"
    )
    mode: Literal["max", "min"] = Field("max", description="whether the best metric is the largest or the smallest")
    format: Literal["auto", "file", "sharded"] = Field(
        "auto",
        description="file: one file, for which rank 0 gathers everything; sharded: a folder of safetensors files, of "
        "which every rank writes and reads its part; auto: sharded for several processes and weights above 1 GB. "
        "Either is continued on any number of processes, under any strategy",
    )
    asynchronous: bool = Field(
        False,
        description="train on while a checkpoint is written, from a copy of what is written in the host's memory; the "
        "next checkpoint waits for it",
    )


class Reference(Section):
    """A second set of records: what the weights that a run starts from already knew."""

    source: Part = Field(description="its records")
    evaluators: NamedParts = Field(
        {}, description="evaluators by table name, with their options; none: those of evaluate.evaluators"
    )
    fields: dict[str, str] = Field(
        {}, description="modality -> the source's field of its raw values, where it is not that of the run"
    )
    split: Part | None = Field(None, description="how records are cut into the parts; None: by data.split")
    test: float | None = Field(
        None, ge=0, lt=1, description="fraction of records in the test part; None: that of data.test"
    )


class Evaluate(Section):
    """Evaluation during and after training."""

    evaluators: NamedParts = Field(
        {},
        description="evaluators by table name, with their options; run at the end and by `sensorium evaluate`",
    )
    every: PositiveFloat | None = Field(
        None, description="epochs between evaluations on the val part; None: only at the end"
    )
    probe: PositiveInt = Field(
        10_000, description="records of the train part that probes are fitted on during training"
    )
    records: PositiveInt = Field(
        1_000_000,
        description="records of each part whose features are held in memory; of a larger part a sample is measured, "
        "chosen by a hash of the ids, and tables say so",
    )
    batch: PositiveInt = Field(256, description="batch size of evaluation")
    baselines: Literal["on", "off"] = Field(
        "on",
        description="rows to compare with: baseline features, the untrained encoder and, of a run that starts from "
        "weights, these as they came; off leaves them out",
    )
    reference: Reference | None = Field(
        None,
        description="records of what the weights that a run starts from already knew, measured after the run's own: "
        "tables reference/NAME, and what was forgotten",
    )


class Monitor(Section):
    """Collapse and non-finite steps: what is monitored, and when the run warns or stops."""

    every: PositiveInt = Field(20, description="steps between checks of features, teacher targets and codes")
    on_collapse: Literal["warn", "stop"] = Field("warn", description="on collapse: warn once, or stop the run")
    patience: PositiveInt = Field(5, description="consecutive checks that must find a collapse before the alarm")
    std: float = Field(
        0.03,
        ge=0,
        description="minimum std of normalized features times sqrt(D): 0 is a single point, 1 a uniform sphere",
    )
    rank: float = Field(1.3, ge=0, description="minimum effective rank of features (RankMe), from 1 to their width")
    fall: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="of a run that starts from weights: minimum of std and rank as fractions of what they were at its "
        "first step; 0: none",
    )
    information: float = Field(
        0.01, ge=0, description="minimum mutual information, in nats, between records and teacher targets or codes"
    )
    codes: float = Field(1.5, ge=0, description="minimum perplexity of the prototypes or codes in use")
    explained: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="of predictions of given targets: minimum explained variance as a fraction of the highest so far; "
        "0: none",
    )
    skips: NonNegativeInt = Field(
        10, description="maximum number of skipped steps (non-finite loss or gradient); one more stops the run"
    )


class Finetune(Section):
    """Supervised fine-tuning of an encoder and a small head by `sensorium finetune`."""

    task: Part = Field(
        Part(name="classification"),
        description="what is learned: classification, multitask (binary classification in many label columns, missing "
        "ones allowed), regression, or a plugin's; `sensorium list tasks` shows them",
    )
    labels: list[str] | None = Field(
        None, description="label columns: one, or several for multitask; None: the only one, or all"
    )
    label_fraction: Fractions | None = Field(
        None,
        description="fraction of the labeled records of the train part to learn from, in (0, 1], stratified; a list "
        "makes a learning curve; None: all",
    )
    labels_per_class: Counts | None = Field(
        None,
        description="labeled records of each class of the train part to learn from; a list makes a learning curve; "
        "None: all",
    )
    modality: str | None = Field(None, description="modality whose encoder is fine-tuned; None: the only one")
    epochs: PositiveInt = Field(50, description="passes over the train part")
    batch: PositiveInt = Field(32, description="batch size")
    freeze_epochs: NonNegativeInt = Field(0, description="epochs at the start with a frozen encoder")
    freeze_batch_norm: bool = Field(
        False,
        description="keep the batch-norm statistics of trained weights, with which the linear probe saw the encoder",
    )
    width: NonNegativeInt = Field(0, description="hidden width of the head; 0: a linear head")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout probability at the input of the head")
    optimizer: Optimizer = Field(Optimizer(), description="optimizer and schedule; its lr is that of the head")
    encoder_lr: PositiveFloat = Field(1e-4, description="peak learning rate of the encoder, > 0")
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor of the encoder's learning rate from each of its blocks to the one before it, in (0, 1]",
    )
    seeds: PositiveInt = Field(
        3,
        description="number of repetitions, each with another data order, another head and another draw of few labels",
    )
    calibrate: bool = Field(
        True,
        description="divide logits by a temperature, fitted where the epoch is chosen (on the val part or in folds), "
        "before probabilities are predicted",
    )
    trees: PositiveInt = Field(500, description="trees of the random forest on baseline features, the baseline")

    @model_validator(mode="after")
    def _one_amount_of_labels(self) -> Self:
        given = [value for value in (self.label_fraction, self.labels_per_class) if value is not None]
        if len(given) == 2 and not any(isinstance(value, list) for value in given):
            raise ValueError("give label_fraction or labels_per_class, not both (lists of them make a learning curve)")
        return self


class Log(Section):
    """Logging of metrics."""

    every: PositiveInt = Field(10, description="steps between log lines of metrics")
    loggers: NamedParts = Field(
        {"tensorboard": Part(name="tensorboard")},
        description="loggers by name, with their options, beside metrics.jsonl; those that a recipe names stand for "
        "the default",
    )
    gallery: PositiveInt = Field(8, description="records of the first batch whose views are drawn to views.png")


class Recipe(Section):
    """The complete description of one run."""

    name: str = Field("run", description="name of the run, the start of its folder's name")
    seed: int = Field(0, description="seed of every random draw of the run")
    plugins: list[str] = Field([], description="names of the plugins that the run requires")
    data: Data = Field(description="the records: source, split, batches, loading")
    modalities: dict[str, Tower] = Field(min_length=1, description="by name: modality, views and encoder of a tower")
    objective: Objectives = Field(
        description="the objective and its options; or a list of several, whose losses are added"
    )
    optimizer: Optimizer = Field(Optimizer(), description="optimizer and learning rate schedule")
    train: Train = Field(description="duration, devices, parallelism, precision")
    checkpoint: Checkpoint = Field(Checkpoint(), description="which checkpoints are kept")
    evaluate: Evaluate = Field(Evaluate(), description="evaluation during and after training")
    monitor: Monitor = Field(Monitor(), description="alarms: collapse, non-finite steps")
    callbacks: NamedParts = Field(
        {}, description="callbacks of the training by name, with their options, in the order in which they are called"
    )
    finetune: Finetune = Field(Finetune(), description="supervised fine-tuning, `sensorium finetune`")
    log: Log = Field(Log(), description="logging of metrics")

    @model_validator(mode="after")
    def _best_is_measured(self) -> Self:
        if self.checkpoint.best and self.evaluate.every is None:
            raise ValueError("checkpoint.best needs evaluate.every, the epochs between evaluations on the val part")
        return self

    @model_validator(mode="after")
    def _shares_encoders_that_are_there(self) -> Self:
        for name, tower in self.modalities.items():
            other = tower.encoder.share
            if other is None:
                continue
            owner = self.modalities.get(other)
            if owner is None or other == name or owner.encoder.share is not None:
                owners = [key for key, t in self.modalities.items() if t.encoder.share is None]
                raise ValueError(
                    f"modalities.{name}.encoder shares that of '{other}', which has none of its own; "
                    f"towers with an encoder: {', '.join(owners) or 'none'}"
                )
            kind, of_owner = tower.modality, owner.modality or Part(name=other)
            if kind is not None and kind != of_owner:
                raise ValueError(
                    f"modalities.{name} shares the encoder of '{other}', and so its modality with all options: leave "
                    f"modalities.{name}.modality out, or write the same"
                )
        return self

    @property
    def sharing(self) -> dict[str, str]:
        """Name of each tower -> the tower whose modality and encoder it has: its own name, unless it shares."""
        return {name: tower.encoder.share or name for name, tower in self.modalities.items()}

    def tower(self, name: str) -> Tower:
        """Return a tower with its modality and encoder spelled out, those that it shares included."""
        owner = self.modalities[self.sharing[name]]
        kind = owner.modality or Part(name=self.sharing[name])
        return self.modalities[name].model_copy(update={"modality": kind, "encoder": owner.encoder})

    def objectives(self) -> dict[str, Part]:
        """Return the objectives by recipe key: "objective", or "objective.0" and so on of several."""
        of = self.objective
        return {"objective": of} if isinstance(of, Part) else {f"objective.{i}": term for i, term in enumerate(of)}

    @property
    def objective_in_words(self) -> str:
        """The objectives as they are said: "clip + 0.5 mae on image"."""
        return " + ".join(term.in_words if isinstance(term, Term) else str(term) for term in self.objectives().values())

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain YAML values."""
        return self.model_dump(mode="json")
