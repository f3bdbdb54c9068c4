"""Contestants that take turns, each loaded in a process of its own, one computing at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import PEERS
from benchmarks.table import ROOT


@dataclass(frozen=True)
class Contestant:
    """One of those that take turns.

    Attributes:
        name: in the table.
        peer: whose environment it runs in; None is this interpreter.
        module: of `benchmarks.peers`, and its arguments; CHECKPOINT stands for the directory.
        share: it is slow enough that one text of this many is measured.
        target: by what factor each of ours has to be faster, by the name of ours.
    """

    name: str
    peer: str | None
    module: tuple[str, ...]
    share: int = 1
    target: dict[str, float] = field(default_factory=dict)


class Worker:
    """A contestant's process, loaded and waiting."""

    def __init__(self, contestant: Contestant, process: subprocess.Popen[str]):
        self.contestant = contestant
        self._process = process
        self.about = self._receive()
        self.speeds: list[float] = []
        self.vectors = np.empty((0, 0))

    def work(self, texts: Path, count: int, first: int = 0) -> float:
        """Have `count` texts from `first` on worked on and return the texts per second."""
        request = {"texts": str(texts), "count": count, "first": first}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._receive()
        if first == 0:
            self.vectors = np.array(answer["vectors"])
        return float(answer["count"] / answer["seconds"])

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise SystemExit(
                f"error: {self.contestant.name} ended with exit code {code}; it has said why above."
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def interpreter(contestant: Contestant) -> Path:
    """Return the Python that a contestant runs with."""
    return PEERS[contestant.peer].interpreter() if contestant.peer else Path(sys.executable)


@contextmanager
def started(contestant: Contestant, python: Path, checkpoint: Path) -> Iterator[Worker]:
    """Yield the contestant, loaded; it ends with the block."""
    module, *arguments = contestant.module
    arguments = [str(checkpoint) if a == "CHECKPOINT" else a for a in arguments]
    with subprocess.Popen(
        [str(python), "-m", f"benchmarks.peers.{module}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield Worker(contestant, process)
        finally:
            process.kill()
