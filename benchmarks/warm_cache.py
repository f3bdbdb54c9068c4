"""What does encoding once save? Twenty epochs of a head on IMDB, from a warm cache and without one.

From the cache all epochs are run: a first training fills the cache, a second one of the same
settings is measured, from looking the texts up to the last epoch. Without it (`--encoder.cache
false`) strings go through the encoder in every epoch. Two such epochs are run and the second one
counts, since the first one also traces the graph; seconds per text, training and validation alike,
are scaled to the cached side's rows and epochs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.table import data_dir, print_heading, print_table, reached
from benchmarks.training_runs import history, timing, train
from tfhub_transfer.runs import Run

EPOCHS = 20
TARGET = 20.0


@dataclass(frozen=True)
class Subset:
    """How many rows of each split are used, where all would take too long.

    Attributes:
        cached: on the cached side; None is all.
        in_graph: in each epoch that encodes.
    """

    cached: int | None
    in_graph: int | None


# MiniLM encodes some 30 reviews of 250 tokens a second: all 50,000 would take half an hour.
SUBSETS = {"minilm-static": Subset(None, None), "minilm-l6": Subset(2000, 500)}


def main() -> None:
    """Measure each encoder and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.warm_cache", description=__doc__)
    arguments.add_argument(
        "--encoder", action="append", choices=list(SUBSETS), help="default: both, in turn"
    )
    arguments.add_argument("--limit", type=int, help="rows of each split at most, to try it out")
    chosen = arguments.parse_args()
    rows = []
    for encoder in chosen.encoder or SUBSETS:
        with tempfile.TemporaryDirectory() as temporary:
            rows.append(measure(encoder, SUBSETS[encoder], chosen.limit, Path(temporary)))
    print_heading(f"{EPOCHS} epochs of a head on IMDB")
    print_table(
        [
            "Encoder",
            "Rows per epoch, cached",
            "Look up, s",
            f"{EPOCHS} epochs, s",
            "Median epoch, s",
            "Rows per epoch, in graph",
            "One epoch, s",
            f"{EPOCHS} epochs, scaled, s",
            "Epoch by epoch",
            "Times faster",
            "Target",
            "Reached",
        ],
        rows,
    )
    print(
        "Rows per epoch are those of training and validation. Scaled: seconds per row in the "
        "graph's second epoch, times the cached side's rows, times the epochs. Times faster: "
        "that, by look-up and all epochs from the cache together. Filling the cache for the first "
        "time is not counted; it costs about one epoch in the graph, and the test split."
    )


def measure(encoder: str, subset: Subset, limit: int | None, folder: Path) -> list[str]:
    """Return the cells of one encoder's row."""
    common = [
        "--data.source", "tfds:imdb_reviews", "--data.dir", str(data_dir() / "tfds"),
        "--encoder.name", encoder, "--encoder.offline", "true",
        "--evaluation.baselines", "[majority]",
    ]  # fmt: skip
    cached_flags = [
        *common, *_limited(subset.cached, limit),
        "--training.epochs", str(EPOCHS), "--training.patience", str(EPOCHS),
    ]  # fmt: skip
    cache = {"TFHUB_TRANSFER_CACHE_DIR": str(folder / "cache")}
    train(folder / "cold", cached_flags, cache)
    cached = train(folder / "warm", cached_flags, cache)
    in_graph = train(
        folder / "graph",
        [*common, *_limited(subset.in_graph, limit), "--encoder.cache", "false",
         "--training.epochs", "2", "--training.patience", "2"],
    )  # fmt: skip
    epochs = history(cached)
    if len(epochs) != EPOCHS:
        raise SystemExit(f"error: {EPOCHS} epochs were asked for. Received: {len(epochs)}")
    seconds, cached_rows, graph_rows = timing(cached), _rows(cached), _rows(in_graph)
    epoch = history(in_graph)[-1]["seconds"]
    scaled = epoch / graph_rows * cached_rows * EPOCHS
    epoch_cached = statistics.median(record["seconds"] for record in epochs)
    factor = scaled / (seconds["encode_s"] + seconds["train_s"])
    return [
        encoder,
        f"{cached_rows:,}",
        f"{seconds['encode_s']:.2f}",
        f"{seconds['train_s']:.2f}",
        f"{epoch_cached:.2f}",
        f"{graph_rows:,}",
        f"{epoch:.1f}",
        f"{scaled:,.0f}",
        f"{scaled / EPOCHS / epoch_cached:.1f}",
        f"{factor:.1f}",
        f">= {TARGET:g}",
        reached(factor >= TARGET),
    ]


def _limited(*limits: int | None) -> list[str]:
    given = [limit for limit in limits if limit is not None]
    return ["--data.limit", str(min(given))] if given else []


def _rows(run: Run) -> int:
    """Return how many texts an epoch goes through, in training and validation."""
    metrics: dict[str, Any] = run.load_metrics()
    # the baseline was fitted on the same rows, and says how many those were
    return int(metrics["baselines"]["majority"]["n_train"] + metrics["validation"]["n"])


if __name__ == "__main__":
    main()
