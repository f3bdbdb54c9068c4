"""Large answers are made in a thread, so that other clients need not wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")

_LARGE = 20_000  # numbers; that many take about 10 ms, and a change of threads much less


async def made(make: Callable[[], Made], size: int) -> Made:
    """Return what `make` returns.

    It may take the interpreter for itself only for short moments, or a thread is of no use.

    Args:
        make: works on its own arrays alone.
        size: how many numbers it has to go through.
    """
    return await asyncio.to_thread(make) if size > _LARGE else make()
