"""The options of a class: what its signature and docstring say, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from sensorium.errors import PluginError, RecipeError
from sensorium.registration.options import Option, check_options, options_of

if TYPE_CHECKING:
    from nowhere import Unknown


class Base:
    """A base.

    Args:
        dim: width of the joint space.
    """

    def __init__(self, dim: int = 4) -> None: ...


class Made(Base):
    """A class with options.

    Args:
        temperature: what cosines are divided by;
            from .1 to .5.
        layers (tuple of int): widths.

    Raises:
        ValueError: never.
    """

    def __init__(
        self,
        modality: Unknown,
        temperature: float = 0.1,
        dim: int = 4,
        layers: tuple[int, ...] = (1,),
        flag: bool = False,
        mode: Literal["mean", "first"] = "mean",
        size: int | None = None,
        **rest: Any,
    ) -> None: ...


class Passing(Base):
    """A class that passes options to its base.

    Args:
        depth: number of layers.
    """

    def __init__(self, depth: int = 2, **options: Any) -> None: ...


class Inheriting(Passing):
    """A class without a constructor of its own."""


class Needy:
    """Args of its own.

    Args:
        path: the folder
    """

    def __init__(self, path: str, root: Path = Path(".")) -> None: ...


@dataclass
class Plain:
    """A dataclass.

    Args:
        width: how wide.
    """

    width: int = 3


def test_options_come_from_signature_and_docstring():
    options = {option.name: option for option in options_of(Made, skip=1)}
    assert list(options) == ["temperature", "dim", "layers", "flag", "mode", "size"]
    assert options["temperature"].help == "what cosines are divided by; from .1 to .5."
    assert options["dim"].help == "width of the joint space."
    assert options["layers"].help == "widths."
    assert options["flag"].help == ""
    assert options["size"].type == "int | None"
    assert options["temperature"].public() == {
        "name": "temperature",
        "type": "float",
        "required": False,
        "help": "what cosines are divided by; from .1 to .5.",
        "default": 0.1,
    }
    assert options_of(Needy)[0] == Option("path", str, True, None, "the folder")
    assert options_of(Plain) == [Option("width", int, False, 3, "how wide.")]
    assert [o.name for o in options_of(Made, skip=("modality", "dim"))][:2] == ["temperature", "layers"]


@pytest.mark.parametrize("target", [Passing, Inheriting])
def test_options_passed_to_a_base_are_options_too(target):
    assert [(o.name, o.default, o.help) for o in options_of(target)] == [
        ("depth", 2, "number of layers."),
        ("dim", 4, "width of the joint space."),
    ]
    assert check_options(target, {"dim": 8}, "objective") == {"dim": 8}


def test_a_type_that_cannot_be_evaluated_is_an_error_unless_skipped():
    with pytest.raises(PluginError, match="the type of option 'modality', Unknown, cannot be evaluated"):
        options_of(Made)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {}),
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"layers": [1, 2]}, {"layers": (1, 2)}),
        ({"size": None, "mode": "first", "flag": True}, {"size": None, "mode": "first", "flag": True}),
    ],
)
def test_fitting_values_arrive_as_the_constructor_wants_them(given, wanted):
    checked = check_options(Made, given, "views", skip=1)
    assert checked == wanted
    assert all(type(checked[key]) is type(wanted[key]) for key in wanted)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"temprature": 0.1},
            "views.temprature = 0.1: 'made' has no option 'temprature', did you mean 'temperature'? "
            "Its options: temperature, dim, layers, flag, mode, size.",
        ),
        (
            {"zzz": 1},
            "views.zzz = 1: 'made' has no option 'zzz'; its options: temperature, dim, layers, flag, mode, size.",
        ),
        ({"dim": "big"}, "views.dim = 'big' is not an integer: width of the joint space."),
        ({"dim": "3"}, "views.dim = '3' is not an integer: width of the joint space."),
        ({"dim": True}, "views.dim = True is not an integer: width of the joint space."),
        ({"flag": 1}, "views.flag = 1 is not true or false."),
        ({"mode": "last"}, "views.mode = 'last' is not 'mean' or 'first'."),
        ({"size": 1.5}, "views.size = 1.5 is not an integer or null."),
        ({"layers": [1, "a"]}, "views.layers = [1, 'a'] is not of type tuple[int, ...]: widths."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(given, said):
    with pytest.raises(RecipeError) as caught:
        check_options(Made, given, "views", skip=1, name="made")
    assert str(caught.value) == said


def test_a_required_option_that_is_left_out_is_named():
    with pytest.raises(RecipeError) as caught:
        check_options(Needy, {}, "source", name="needy")
    assert str(caught.value) == "source.path is missing: 'needy' requires it, str (the folder)."


def test_a_class_without_options_has_none():
    with pytest.raises(RecipeError, match="'object' has no option 'x'; it has none"):
        check_options(object, {"x": 1}, "views")


def test_values_that_only_python_can_hold_are_checked_too():
    assert check_options(Needy, {"path": "a", "root": Path("b")}, "source") == {"path": "a", "root": Path("b")}
    with pytest.raises(RecipeError, match=r"source.root = 3 is not of type"):
        check_options(Needy, {"path": "a", "root": 3}, "source")
