"""Parts as a recipe names them: by name and options, one or several, by names of the recipe's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from sensorium.registration.given import CLASS, GIVEN


class Section(BaseModel):
    """A mapping of known keys; null where a key cannot be none stands for its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value

        def can_be_none(key: str) -> bool:
            return key not in cls.model_fields or NoneType in get_args(cls.model_fields[key].annotation)

        return {key: given for key, given in value.items() if given is not None or can_be_none(key)}


class Part(BaseModel):
    """A registered part by name, with its options; a bare string is a name without options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="the registered name; `sensorium list` shows them")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name, and the class of a part that was handed in."""
        extra = self.model_extra or {}
        return {key: value for key, value in extra.items() if self.handed_in is None or key != CLASS}

    def __str__(self) -> str:
        return self.name if self.handed_in is None else self.handed_in.rpartition(".")[2]

    @property
    def handed_in(self) -> str | None:
        """The class of a part that is no registered one but an object of the caller; None for a registered one."""
        return str((self.model_extra or {}).get(CLASS, "unknown")) if self.name == GIVEN else None


def _listed(value: Any) -> Any:
    """Return what is named, one or several, as a list."""
    names = value if isinstance(value, list) or value is None else [value]
    if names is not None and not (names and all(isinstance(name, str | int) for name in names)):
        raise ValueError(f"{value!r} is neither a name nor a list of names")
    return names


class Term(Part):
    """One of several objectives that are trained together: a part, and what it sees and weighs in their sum."""

    on: Annotated[list[str] | None, BeforeValidator(_listed)] = Field(
        None, description="the modality that it sees, or a list of them; None: all that there are"
    )
    weight: PositiveFloat = Field(1.0, description="factor of its loss in the sum, > 0")
    start: float = Field(
        0.0, ge=0, lt=1, description="fraction of the training at which it sets in; until then it costs nothing"
    )
    views: Annotated[list[str | int] | None, BeforeValidator(_listed)] = Field(
        None,
        description="which of the view generators of a modality it sees, by name or number from 0; a list of several; "
        "None: the first that fits",
    )

    @property
    def in_words(self) -> str:
        """The term as it is said: "0.5 mae on image from 80%"."""
        weight = "" if self.weight == 1 else f"{self.weight:g} "
        on = "" if self.on is None else f" on {' and '.join(self.on)}"
        return f"{weight}{self}{on}" + (f" from {self.start:.0%}" if self.start else "")

    @model_serializer(mode="wrap")
    def _without_defaults(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        left_out = {key for key in OF_TERM if getattr(self, key) == Term.model_fields[key].default}
        return {key: value for key, value in plain(self).items() if key not in left_out}


OF_TERM = ("on", "weight", "start", "views")
"""The keys of a term beside its name and its options."""
ONE, SEVERAL = "(one)", "(several)"
"""What pydantic calls the two alternatives where a recipe has one part or a list of them, in the places of errors."""


def _how_many(value: Any) -> str:
    return SEVERAL if isinstance(value, list) else ONE


def _not_empty(value: Any) -> Any:
    if value == []:
        raise ValueError("the list is empty: give one or more")
    return value


One = TypeVar("One")
Each = TypeVar("Each")
OneOrSeveral = Annotated[
    Annotated[One, Tag(ONE)] | Annotated[list[Each], Tag(SEVERAL)],
    Discriminator(_how_many),
    BeforeValidator(_not_empty),
]
Objectives = OneOrSeveral[Part, Term]
"""An objective, or a list of several."""
Generators = OneOrSeveral[Part, Part]
"""A view generator, or a list of several."""
Fraction = Annotated[float, Field(gt=0, le=1)]
Fractions = OneOrSeveral[Fraction, Fraction]
"""A fraction above 0, or a list of several."""
Counts = OneOrSeveral[PositiveInt, PositiveInt]
"""A number of records, or a list of several."""


def by_name(value: Any) -> Any:
    """Return a list of names as a mapping of these, without options; any other value as it is."""
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return {one: {} for one in value} if is_list else value


def _named_by_key(value: Any) -> Any:
    value = by_name(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is neither a list of names, [NAME], nor a mapping, {{NAME: {{OPTION: VALUE}}}}")
    return {
        key: {"name": key, **(given or {})} if given is None or isinstance(given, dict) else given
        for key, given in value.items()
    }


NamedParts = Annotated[dict[str, Part], BeforeValidator(_named_by_key)]
"""Parts by a name of the recipe's own, one that names no part is of the part of that name; or a list of names."""


class EncoderPart(Part):
    """The encoder of a tower: one of its own, by name and options, or that of another tower, `{share: OTHER}`."""

    name: str = Field("", description="the registered name; `sensorium list encoders` shows them")
    share: str | None = Field(
        None,
        description="another tower of the same modality, whose encoder (and head) this one uses: a siamese network",
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.share is None and not self.name:
            raise ValueError("name an encoder, or the tower whose encoder is shared: {share: OTHER}")
        if self.share is not None and (self.name or self.options):
            given = ", ".join([*["name"] * bool(self.name), *self.options])
            raise ValueError(f"share takes the encoder of '{self.share}' as it is: leave out {given}")
        return self

    @model_serializer(mode="wrap")
    def _without_the_other(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in plain(self).items() if key != ("share" if self.share is None else "name")}

    def __str__(self) -> str:
        return super().__str__() if self.share is None else f"that of {self.share}"


def objectives_of(value: Any) -> list[Part]:
    """Return the objectives that a recipe's key `objective` has, as plain values."""
    return [Term.model_validate(one) for one in value] if isinstance(value, list) else [Part.model_validate(value)]
