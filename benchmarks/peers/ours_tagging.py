"""An exported tagger, in a process of its own: arguments MODELS BATCH."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.peers.worker import Loaded, serve

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def load(arguments: list[str]) -> Loaded:
    """Load the newest version as a server does."""
    from tfhub_transfer.artifact.predictor import Predictor

    models, size = Path(arguments[0]), int(arguments[1])
    predictor = Predictor.load(models / "tagger" / "1")

    def tag(texts: list[str]) -> list[list[tuple[str, int, int]]]:
        found = []
        for first in range(0, len(texts), size):
            batch = [text.encode() for text in texts[first : first + size]]
            answer = predictor.run(batch)
            rows = zip(answer["tags"], answer["starts"], answer["ends"], strict=True)
            found += [_entities(*row) for row in rows]
        (models / "ours.json").write_text(json.dumps(found), encoding="utf-8")
        return found

    return Loaded(
        encode=tag,
        packages=("tensorflow", "tensorflow-text"),
        note=f"strings in, words with tags and places out, {size} texts a call; tags joined to "
        f"entities in Python",
        vectors=False,
    )


def _entities(tags: list[bytes], starts: list[int], ends: list[int]) -> list[tuple[str, int, int]]:
    """Join IOB2 tags as the pipeline does: a B begins an entity, an I of its type goes on."""
    found: list[tuple[str, int, int]] = []
    inside = ""
    for tag, start, end in zip(tags, starts, ends, strict=True):
        place, _, kind = tag.decode().partition("-")
        if place == "I" and kind == inside:
            found[-1] = (kind, found[-1][1], int(end))
        elif kind:
            found.append((kind, int(start), int(end)))
        inside = kind
    return found


if __name__ == "__main__":
    serve(load)
