"""This project's public path, in a process of its own: arguments PRECISION."""

from __future__ import annotations

import os

from benchmarks.peers.worker import Loaded, serve

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def load(arguments: list[str]) -> Loaded:
    """Load minilm-l6 as a training run does, with all defaults but the precision."""
    from tfhub_transfer.encoders.bulk import BulkEncoder
    from tfhub_transfer.encoders.layer import HubLayer
    from tfhub_transfer.encoders.resolve import resolve

    (precision,) = arguments
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"float32 or bfloat16, not {precision!r}")
    layer = HubLayer(resolve("minilm-l6", offline=True))
    return Loaded(
        encode=BulkEncoder(layer, "bfloat16" if precision == "bfloat16" else "float32"),
        packages=("tensorflow", "tensorflow-text", "keras"),
        note=f"`BulkEncoder(HubLayer(resolve('minilm-l6')), '{precision}')(texts)`",
    )


if __name__ == "__main__":
    serve(load)
