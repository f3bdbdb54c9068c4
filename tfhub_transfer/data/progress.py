"""A progress line for reading that takes long enough to wonder about."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tfhub_transfer.data.table import Batch, Table

_PATIENCE_SECONDS = 2.0


def tracked(table: Table) -> Iterator[Batch]:
    """Yield the table's batches; past two seconds, show rows and rows/s on a terminal's stderr."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} rows, {task.fields[rate]:,.0f} rows/s"),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task(f"Reading {table.origin}", total=None, rate=0.0)
    start, rows, shown = time.monotonic(), 0, False
    try:
        for batch in table.read():
            yield batch
            rows += len(batch.rows)
            elapsed = time.monotonic() - start
            if not shown and elapsed > _PATIENCE_SECONDS:
                progress.start()
                shown = True
            progress.update(task, completed=rows, rate=rows / max(elapsed, 1e-9))
    finally:
        if shown:
            progress.stop()
