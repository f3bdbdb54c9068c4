"""What a trial came to, as one file that is whole or absent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_transfer.runs import atomic_path

__all__ = ["TrialResult"]

_FILE = "result.json"


@dataclass(frozen=True)
class TrialResult:
    """Of a trial that ended, well or not.

    Attributes:
        settings: what it had that was drawn for it, by dotted name; the others of the space were at
            the configuration's own value. What was drawn and did not go with the rest is not here.
        scores: `log_loss` and `accuracy` of the validation rows; empty where it failed.
        epochs: that it trained, those of the trial that it continues included.
        stopped: why it ended before it would have: `budget` or `hyperband`; None if it did not.
        repeats: the earlier trial of the same configuration that it took the scores of.
        error: what it failed of.
        traceback: where that came from.
        seconds: `encode`, `train` and `total`.
    """

    settings: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    stopped: str | None = None
    repeats: str | None = None
    error: str | None = None
    traceback: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def told(self) -> str:
        """Return in a line what it came to."""
        if self.error is not None:
            what = f"failed: {self.error}"
        else:
            what = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        what += f", as trial {self.repeats}" if self.repeats else ""
        what += ", stopped by the budget" if self.stopped == "budget" else ""
        return f"{what}, {self.seconds['total']:.1f} s"

    def save(self, directory: Path) -> None:
        """Write it into the trial's directory."""
        with atomic_path(directory / _FILE) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> TrialResult | None:
        """Read what `save` wrote; None if the trial did not end, or the file is damaged."""
        file = directory / _FILE
        if not file.exists():
            return None
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return None
