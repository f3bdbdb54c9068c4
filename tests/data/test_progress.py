"""Slow reading shows how far it is, where somebody can see it."""

from __future__ import annotations

import numpy as np
import pytest

from tfhub_transfer.data import progress
from tfhub_transfer.data.table import Batch, Table


def read() -> list[Batch]:
    batch = Batch(np.arange(1, 3), ["a", "b"], ["x", "y"])
    return list(progress.tracked(Table("some.csv", lambda: iter([batch] * 3))))


@pytest.mark.parametrize(
    ("patience", "terminal", "shown"), [(-1.0, "1", True), (60.0, "1", False), (-1.0, "0", False)]
)
def test_progress_is_shown_on_a_terminal_after_a_while(
    monkeypatch, capsys, patience, terminal, shown
):
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", patience)
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    assert len(read()) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("rows/s" in printed.err) == shown
    assert ("Reading some.csv" in printed.err) == shown
