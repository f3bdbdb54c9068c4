"""A process that loads one encoder, and encodes when it is told to: `serve(load)`.

It reads a line of JSON and answers with one: `{"texts": FILE, "first": I, "count": N}`
encodes N texts of a JSON file from text I on. So several encoders stay loaded, and one at a time
computes. Run by every peer's interpreter: nothing but the standard library is imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN_VECTORS = 8


@dataclass(frozen=True)
class Loaded:
    """An encoder that is ready.

    Attributes:
        encode: texts to something with one row per text.
        packages: whose versions the table names.
        note: what a reader must know of it.
        vectors: whether the rows are MiniLM's sentence vectors.
    """

    encode: Callable[[list[str]], Any]
    packages: tuple[str, ...]
    note: str = ""
    vectors: bool = True


def serve(load: Callable[[list[str]], Loaded]) -> None:
    """Load with the command line's arguments, say so, and answer until standard input ends."""
    # Libraries print: what they print goes to standard error, and the protocol has a pipe alone.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    loaded = load(sys.argv[1:])
    versions = _versions(loaded.packages)
    _answer(answers, {"versions": versions, "note": loaded.note, "python": sys.version.split()[0]})
    for line in sys.stdin:
        request = json.loads(line)
        texts = json.loads(Path(request["texts"]).read_text(encoding="utf-8"))
        texts = texts[request["first"] :][: request["count"]]
        began = time.perf_counter()
        rows = loaded.encode(texts)
        seconds = time.perf_counter() - began
        if len(rows) != len(texts):
            raise RuntimeError(f"{len(texts)} texts gave {len(rows)} rows")
        shown = [[float(x) for x in row] for row in rows[:SHOWN_VECTORS]] if loaded.vectors else []
        _answer(answers, {"seconds": seconds, "count": len(texts), "vectors": shown})


def _answer(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
