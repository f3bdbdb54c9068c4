"""What has changed since a run was begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["changes"]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the entries that differ, and within an entry of parts, such as a corpus, those parts.

    Args:
        before: as they were written down when the run was begun.
        now: with the same keys.
    """
    found = []
    for name, value in now.items():
        if before[name] == value:
            continue
        if isinstance(value, Mapping):
            parts = {**before[name], **value}
            differ = [part for part in parts if before[name].get(part) != value.get(part)]
            found.append(f"{name} ({', '.join(differ)})")
        else:
            found.append(name)
    return found
