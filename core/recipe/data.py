"""The fields of a recipe that say which records are read, and how."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sensorium.recipe.parts import Part, Section


class Negatives(Section):
    """Mined hard negatives, added to each batch in the modality that they were mined in."""

    path: str = Field(description="the Parquet file that `sensorium mine` wrote")
    count: PositiveInt = Field(1, description="negatives per record, hardest first")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class Order(Section):
    """The order of records in an epoch, a function of (seed, epoch): a bare string is its name."""

    name: Literal["shuffled", "blocks", "randperm"] = Field(
        "shuffled",
        description="shuffled: all records at random; blocks: for storage that is read in fragments (row groups, "
        "tars), fragments at random, and the records of some at a time shuffled; randperm: shuffled as in runs begun "
        "before this key, at 8 bytes a record",
    )
    window: PositiveInt | None = Field(
        None, description="of blocks: most fragments that are shuffled together, and that a batch reads; default 16"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        is_blocks = isinstance(value, dict) and value.get("name") == "blocks"
        return {**value, "window": 16} if is_blocks and value.get("window") is None else value

    @model_validator(mode="after")
    def _window_is_of_blocks(self) -> Self:
        if self.window is not None and self.name != "blocks":
            raise ValueError(f"window is an option of blocks, not of {self.name}: write {{name: blocks, window: 16}}")
        return self


class Data(Section):
    """The records: their source, split, batches and loading."""

    source: Part | None = Field(None, description="the source of records; None when `fit` is given one")
    select: str | None = Field(
        None,
        description="which records are used, all others are left out: a Parquet file with their `id`, such as one of "
        "`sensorium curate`, of which rows with `keep` count; or a text file with one id on each line",
    )
    negatives: Negatives | None = Field(
        None, description="mined hard negatives, a file of `sensorium mine`: its path, or path and count"
    )
    neighbors: str | None = Field(
        None, description="a file of `sensorium mine`: a record and its mined negatives are put into the same batch"
    )
    order: Order = Field(
        Order(), description="the order of records in an epoch: shuffled, or {name: blocks, window: W}"
    )
    batch: PositiveInt = Field(
        256, description="global batch size: records per optimizer step, over all devices and accumulated parts"
    )
    val: float = Field(
        0.1, ge=0, lt=1, description="fraction of records in the val part, for evaluation during training"
    )
    test: float = Field(0.1, ge=0, lt=1, description="fraction of records in the test part, for the final evaluation")
    split_seed: int = Field(
        0, description="seed of the split, which is a function of it and the ids; independent of the run's seed"
    )
    split: Part = Field(
        Part(name="random"),
        description="how records are cut into the parts; random: as the source names them, others drawn by group or id",
    )
    workers: NonNegativeInt | Literal["auto"] = Field(
        "auto", description="loader processes per rank; auto: one per core, at most 8"
    )
    cache: Literal["off", "ram", "disk", "device"] = Field(
        "off",
        description="decode records once: into memory (ram) or a file (disk) of all ranks of a node, or the device",
    )
    cache_dir: str | None = Field(None, description="folder of cache: disk; None: the system's temporary folder")
    max_bad: float = Field(
        0.01,
        ge=0,
        le=1,
        description="fraction of all records of the source that may be unreadable, or have an unreadable value, before "
        "the run stops; above 0, one always may",
    )
    retries: NonNegativeInt = Field(
        5,
        description="times that a record is read again, after pauses of 0.5, 1, 2 seconds and so on, when the store "
        "fails (a connection, a network file system, a disk); then the run stops",
    )
    timeout: PositiveFloat | None = Field(
        600.0,
        description="seconds that a loader worker may stand still in reading one record before the run stops, > 0; "
        "None: any number",
    )

    @model_validator(mode="after")
    def _neighbors_are_anywhere(self) -> Self:
        if self.neighbors is not None and self.order.name == "blocks":
            raise ValueError(
                "neighbors brings records together wherever they are stored, and order: blocks keeps those of a "
                "fragment together: choose one of them"
            )
        return self


class ReadTower(Section):
    """How the values of one field are read."""

    modality: Part = Field(description="the modality and its options")


class Reading(Section):
    """Records that are only read: their source, and the modality of each field."""

    data: Data = Field(Data(), description="the records: source, split, loading")
    modalities: dict[str, ReadTower] = Field({}, description="by name of a field: its modality")
