"""Which plugins this version of the plugin contract loads; the policy is `docs/reference/versions.md`."""

from __future__ import annotations

import warnings
from typing import Any

import sensorium
from sensorium.deprecation import Deprecated
from sensorium.errors import PluginError

WORKING = ("1.0", "1.1", "1.2", "1.3", "1.4")
"""The versions of the contract whose plugins load, oldest first; the last is this one, `sensorium.API_VERSION`."""

_LOWER_BOUNDS = (">=", ">", "~=", "==")


def contract_fault(asked: Any) -> str:
    """Return why a plugin that asks for these versions of the contract is not loaded, or an empty string.

    Args:
        asked: the module's `sensorium_api`: a major version (1 is any 1.x), or a specifier such as ">=1.1,<3".

    Raises:
        PluginError: when it is neither.
    """
    versions = _versions(asked)
    if any(version in versions for version in WORKING):
        return ""
    from packaging.version import Version

    now = Version(sensorium.API_VERSION)
    newer = any(s.operator in _LOWER_BOUNDS and Version(s.version.removesuffix(".*")) > now for s in versions)
    upgrade = "sensorium" if newer else "the plugin"
    return f"it was written for plugin contract {asked}, this is {now}: upgrade {upgrade}"


def is_outdated(asked: Any) -> bool:
    """Whether a plugin that loads asks for older versions of the contract only, which still work."""
    return sensorium.API_VERSION not in _versions(asked)


def deprecated_contract(plugin: str, asked: Any) -> None:
    """Warn that a plugin, which loads, was written for an older version of the contract.

    Args:
        plugin: what sentences call it.
        asked: its `sensorium_api`.
    """
    warnings.warn(
        f"The {plugin} was written for plugin contract {asked}; it still works with this one, {sensorium.API_VERSION}, "
        "but not for ever: upgrade the plugin.",
        Deprecated,
        stacklevel=2,
    )


def _versions(asked: Any) -> Any:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if isinstance(asked, bool) or not isinstance(asked, int | str) or not str(asked).strip():
            raise InvalidSpecifier
        return SpecifierSet(f"=={asked}.*" if isinstance(asked, int) else asked)
    except InvalidSpecifier:
        raise PluginError(
            f"its sensorium_api is {asked!r}, not versions of a plugin contract such as 1 or '>=1.1,<3'"
        ) from None
