"""Measurements kept by name, so that a table that was stopped goes on where it was."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import say
from tfhub_transfer.runs import atomic_path


class Measurements:
    """Results of named measurements, in a JSON file that is replaced after each.

    Args:
        path: of the file.
        settings: what all measurements depend on; a file of other settings is refused.

    Raises:
        SystemExit: it is of other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self._path = path
        self._content: dict[str, Any] = {"settings": settings, "results": {}}
        if path.exists():
            self._content = json.loads(path.read_text(encoding="utf-8"))
        if self._content["settings"] != settings:
            raise SystemExit(
                f"error: {path} is of other settings; name another file with --state, or delete "
                f"it. Accepted: {self._content['settings']}. Received: {settings}"
            )

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return what was measured under `name`, by `measure` if nothing was as yet."""
        results = self._content["results"]
        if name not in results:
            say(name)
            results[name] = measure()
            with atomic_path(self._path) as temporary:
                temporary.write_text(json.dumps(self._content, indent=1), encoding="utf-8")
        return results[name]


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return `0.812 ± 0.004`: the mean, and the sample's standard deviation if there are two."""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean
