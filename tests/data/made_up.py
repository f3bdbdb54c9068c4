"""Made-up rows, and what a data set made of them holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfhub_transfer.data.examples import Dataset

Rows = list[tuple[Any, Any]]


def rows_of(name: str, **sizes: int) -> Rows:
    """Return rows with distinct texts, as many of each label as given."""
    return [(f"{name} {label} {n}", label) for label, size in sizes.items() for n in range(size)]


def contents(data: Dataset) -> dict[str, list[tuple[str, Any]]]:
    return {
        name: list(zip(part.texts(), part.labels.tolist(), strict=True))
        for name, part in (
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
        )
    }


def rejected_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
