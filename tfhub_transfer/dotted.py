"""Settings by their dotted names, as flags have them, and nested, as files do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flat", "nested"]


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of sections as `section.name`, beside those that have no section."""
    dotted: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            dotted |= {f"{key}.{inner}": setting for inner, setting in value.items()}
        else:
            dotted[key] = value
    return dotted


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `flat` made of sections as sections again."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        section, dot, inner = key.partition(".")
        if dot:
            tree.setdefault(section, {})[inner] = value
        else:
            tree[key] = value
    return tree
