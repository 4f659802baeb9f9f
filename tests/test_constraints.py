"""`constraints.txt` is one environment: where two pins exclude each other, pip searches for minutes and gives up."""

from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def pins() -> dict[str, str]:
    requirements = [Requirement(line) for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


def test_no_pin_excludes_another():
    versions = pins()
    excluded = []
    for distribution in distributions():
        if versions.get(canonicalize_name(distribution.metadata["Name"])) != distribution.version:
            continue  # another version may ask for other things
        for requirement in map(Requirement, distribution.requires or []):
            version = versions.get(canonicalize_name(requirement.name))
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and version and not requirement.specifier.contains(version, prereleases=True):
                excluded.append(f"{distribution.metadata['Name']} asks for {requirement}, the pin is {version}")
    assert excluded == []
