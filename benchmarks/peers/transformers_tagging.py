"""A transformers pipeline for token classification on CPU: arguments MODELS BATCH."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers.worker import Loaded, serve


def load(arguments: list[str]) -> Loaded:
    """Load the checkpoint into the pipeline."""
    import torch
    from transformers import pipeline

    models, size = Path(arguments[0]), int(arguments[1])
    tagger = pipeline(
        "token-classification",
        model=str(models / "checkpoint"),
        aggregation_strategy="first",  # a word has its first piece's tag, as with us
        device="cpu",
    )

    def tag(texts: list[str]) -> list[list[tuple[str, int, int]]]:
        found = [
            [(one["entity_group"], int(one["start"]), int(one["end"])) for one in entities]
            for entities in tagger(texts, batch_size=size)
        ]
        (models / "theirs.json").write_text(json.dumps(found), encoding="utf-8")
        return found

    return Loaded(
        encode=tag,
        packages=("transformers", "torch"),
        note=f"`pipeline('token-classification', aggregation_strategy='first')`, "
        f"batch_size={size}; float32, {torch.get_num_threads()} threads",
        vectors=False,
    )


if __name__ == "__main__":
    serve(load)
