"""A progress line with a rate, for whatever takes long enough to wonder about."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Protocol

PATIENCE_SECONDS = 2.0
LOG_SECONDS = 60.0
# Tells, in the line of the work that is going on, what goes on within it.
_around: ContextVar[Callable[[str], None] | None] = ContextVar("around", default=None)


class Advance(Protocol):
    """Tells how many more units are done, and what is being done now."""

    def __call__(self, units: int, now: str | None = None) -> None:
        """Add `units`; `now` replaces what is going on."""


@contextlib.contextmanager
def progress(what: str, unit: str, total: int | None = None) -> Iterator[Advance]:
    """Yield a function to call with each number of units done, and maybe with a new `what`.

    Past two seconds a terminal shows the count, the rate and, where the total is known, a bar
    with the time left; at the end one line stays. A log gets that line, and one each minute before
    it. Work that goes on within other work, as a training within a search, is told of in the
    other's line alone.

    Args:
        what: what is going on, as in "Encoding".
        unit: of what is counted, in the plural, as in "texts".
        total: how many units there will be, if known.
    """
    around = _around.get()
    if around is not None:
        with _within(around, what, unit, total) as advance_within:
            yield advance_within
        return
    # rich takes 0.1 s to import, which only those who wait should pay
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    console = Console(stderr=True)
    of = _of(total)
    columns = [
        # may wrap: a narrow terminal cuts what may not, and that is the time left
        TextColumn("{task.description}", markup=False, table_column=Column()),
        *([BarColumn(), TimeRemainingColumn()] if total is not None else [TimeElapsedColumn()]),
        TextColumn(f"{{task.completed:,.0f}}{of} {unit}, {{task.fields[rate]}} {unit}/s"),
    ]
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total, rate="0")
    start = time.monotonic()
    done, shown, logged = 0, False, 0.0

    def advance(units: int, now: str | None = None) -> None:
        nonlocal done, shown, logged, what
        done += units
        what = now or what
        elapsed = time.monotonic() - start
        if not shown and elapsed > PATIENCE_SECONDS:
            bar.start()
            shown = True
        rate = _rate(done / max(elapsed, 1e-9))
        bar.update(task, description=what, completed=done, rate=rate)
        if not console.is_terminal and elapsed - logged > LOG_SECONDS:
            logged = elapsed
            line = f"{what}: {done:,}{of} {unit} so far ({rate} {unit}/s)"
            console.print(line, markup=False, highlight=False)

    def tell(text: str) -> None:
        advance(0)
        bar.update(task, description=f"{what}: {text}" if text else what)

    token = _around.set(tell)
    try:
        yield advance
    finally:
        _around.reset(token)
        bar.stop()
        elapsed = time.monotonic() - start
        if elapsed > PATIENCE_SECONDS:
            console.print(
                f"{what}: {done:,} {unit} in {elapsed:.1f} s ({_rate(done / elapsed)} {unit}/s)",
                markup=False, highlight=False,
            )


@contextlib.contextmanager
def _within(
    tell: Callable[[str], None], what: str, unit: str, total: int | None
) -> Iterator[Advance]:
    done = 0

    def advance(units: int, now: str | None = None) -> None:
        nonlocal done, what
        done += units
        what = now or what
        tell(f"{what}, {done:,}{_of(total)} {unit}")

    try:
        yield advance
    finally:
        tell("")


def _of(total: int | None) -> str:
    return "" if total is None else f" of {total:,}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
