"""Ctrl-C between two steps of a training, not within one.

Python raises KeyboardInterrupt wherever the main thread stands. That may be a function of the input
pipeline that TensorFlow's C++ has called, and TensorFlow 2.21 then corrupts its heap: the process
ends with SIGABRT or SIGSEGV, and what was trained is not kept.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["held_interrupts"]


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Hold back the first Ctrl-C until what is yielded is called, or the block ends well.

    A second one is not held back, lest a step that hangs could not be left. Where Ctrl-C is
    ignored, or handled by another than Python itself, or in a thread, nothing is changed.

    Raises:
        KeyboardInterrupt: by what is yielded, or at the block's end: Ctrl-C came before.
    """
    came = False

    def hold(number: int, frame: Any) -> None:
        nonlocal came
        if came:
            signal.default_int_handler(number, frame)
        came = True

    def check() -> None:
        nonlocal came
        if came:
            came = False
            raise KeyboardInterrupt

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield check
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
