"""Commands in processes of their own, caught in the middle of what they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def process(command: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Begin a command of the package; it does not outlive the block."""
    # Where the tests run in a shell's background, Ctrl-C is ignored, and children inherit that.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(
        [sys.executable, "-m", f"tfhub_transfer.{command}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONFAULTHANDLER": "1"},
    )
    signal.signal(signal.SIGINT, handler)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def wait_for(
    what: Callable[[], Any], *started: subprocess.Popen[Any], seconds: float = 90.0
) -> Any:
    """Wait for something to be true, as long as processes live; return what it is."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        for one in started:
            assert one.poll() is None, one.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


def killed(
    command: str, *arguments: object, when: Callable[[], bool], number: int = signal.SIGKILL
) -> tuple[int, str, str]:
    """Begin a command, send it a signal once `when` holds, and return its code, out and err."""
    with process(command, *arguments) as started:
        wait_for(when, started)
        started.send_signal(number)
        out, err = started.communicate(timeout=60)
        return started.returncode, out, err
