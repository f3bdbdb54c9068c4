"""Processes that write to a cache, and that can be killed while they do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path


def waiting(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process whose script prints `ready` and then waits for a line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")


def kill_past(process: subprocess.Popen[str], root: Path, name: str, size: int) -> None:
    """Kill a process once a file of this name has more than `size` bytes, or it is done."""
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if any(file.stat().st_size > size for file in root.glob(f"*/{name}")):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
