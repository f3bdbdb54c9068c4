"""What several modules of data tests write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.data.made_up import Rows
from tfhub_transfer.config import DataConfig


@pytest.fixture
def write(tmp_path_factory):
    """Write splits as JSONL into a new folder, and return a config for it or its file `all`."""

    def write(settings: dict[str, Any] | None = None, **splits: Rows) -> DataConfig:
        folder = tmp_path_factory.mktemp("source")
        for name, rows in splits.items():
            lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
            (folder / f"{name}.jsonl").write_text("\n".join(lines))
        source = folder / "all.jsonl" if "all" in splits else folder
        return DataConfig(source=str(source), **(settings or {}))

    return write
