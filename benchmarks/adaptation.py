"""What does adapting to another domain give? Amazon reviews, each domain to each other.

Of four domains, 2,000 labelled reviews each: 12 pairs. All methods share the encoder, which stays
frozen, the head and its rates, and are tested on the same rows.

Split: each seed draws 1,400 reviews of the target, which are adapted to without their labels, and
600 to test on. Of the source all 2,000 are trained on, but for a tenth that is validated on.
"Target-trained" trains on the target's 1,400 with their labels instead. "Source-only" keeps the
epoch of the best validation loss, as it would without a second domain; CORAL and DANN keep their
last.

Beside them the figures of Ganin et al. 2016 (arXiv 1505.07818), table 1: networks on counts of
5,000 words and pairs of words, without adaptation (NN) and with it (DANN), and both on the mSDA
representation of those. Its test rows are others, 3,586 to 5,945 of each domain, and its settings
were chosen for each pair by reverse validation, which the ones here were not.
"""

from __future__ import annotations

import argparse
import csv
import gc
import itertools
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.resumable import Measurements, mean_and_deviation
from benchmarks.table import ROOT, data_dir, print_heading, print_table
from tfhub_transfer.config import (
    AdaptationConfig,
    Config,
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    HeadConfig,
    TrainingConfig,
)
from tfhub_transfer.evaluation.experiment import run_experiment

DOMAINS = ("books", "dvd", "electronics", "kitchen")
METHODS = ("source-only", "CORAL", "DANN", "target-trained")
TESTED = 600
# table 1 of the paper, by source and target: DANN and NN on counts, DANN and NN on mSDA
PUBLISHED = {
    ("books", "dvd"): (0.784, 0.790, 0.829, 0.824),
    ("books", "electronics"): (0.733, 0.747, 0.804, 0.770),
    ("books", "kitchen"): (0.779, 0.778, 0.843, 0.842),
    ("dvd", "books"): (0.723, 0.720, 0.825, 0.823),
    ("dvd", "electronics"): (0.754, 0.732, 0.809, 0.768),
    ("dvd", "kitchen"): (0.783, 0.778, 0.849, 0.853),
    ("electronics", "books"): (0.713, 0.709, 0.774, 0.770),
    ("electronics", "dvd"): (0.738, 0.733, 0.781, 0.759),
    ("electronics", "kitchen"): (0.854, 0.854, 0.881, 0.863),
    ("kitchen", "books"): (0.709, 0.708, 0.718, 0.721),
    ("kitchen", "dvd"): (0.740, 0.739, 0.789, 0.789),
    ("kitchen", "electronics"): (0.843, 0.841, 0.856, 0.850),
}

Rows = list[tuple[str, str]]


def main() -> None:
    """Train what is missing and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.adaptation", description=__doc__)
    arguments.add_argument(
        "--encoder", default="minilm-l6", help="its name, as encoders list gives it"
    )
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--source", action="append", choices=DOMAINS, help="these alone")
    arguments.add_argument("--hidden", type=int, default=100, help="units of the head's layer")
    arguments.add_argument("--epochs", type=int, default=40)
    # what the authors' own script for these reviews has
    arguments.add_argument("--dann", type=float, default=0.1, help="adaptation.weight of DANN")
    arguments.add_argument("--coral", type=float, default=1.0, help="adaptation.weight of CORAL")
    arguments.add_argument(
        "--state", type=Path, default=ROOT / "runs" / "benchmarks" / "adaptation.json"
    )
    chosen = arguments.parse_args()
    settings = {
        name: getattr(chosen, name) for name in ("encoder", "hidden", "epochs", "dann", "coral")
    }
    kept = Measurements(chosen.state, settings)
    reviews = {domain: _read(domain) for domain in DOMAINS}
    pairs = [
        pair
        for pair in itertools.permutations(DOMAINS, 2)
        if not chosen.source or pair[0] in chosen.source
    ]
    found: dict[tuple[tuple[str, str], str], list[float]] = {}
    for seed in range(chosen.seeds):
        for pair, method in itertools.product(pairs, METHODS):
            source, target = pair
            name = f"{method}, {target if method == METHODS[-1] else f'{source} to {target}'}"
            accuracy = kept.get(
                f"{name}, seed {seed}",
                lambda s=seed, p=pair, m=method: _train(m, *p, s, reviews, chosen),
            )
            found.setdefault((pair, method), []).append(accuracy)

    print_heading("Domain adaptation on Amazon reviews")
    print(f"{__doc__}\n".split("\n\n", 1)[1])
    print(
        f"Encoder {chosen.encoder}, frozen; a hidden layer of {chosen.hidden} units, "
        f"{chosen.epochs} epochs, adaptation.weight {chosen.dann:g} for DANN and {chosen.coral:g} "
        f"for CORAL. Test accuracy on the target, mean and deviation of {chosen.seeds} seeds.\n"
    )
    columns = ["Source, target", *METHODS]
    columns += ["Paper: NN", "Paper: DANN", "Paper: NN, mSDA", "Paper: DANN, mSDA"]
    rows = [
        [
            f"{pair[0]}, {pair[1]}",
            *(mean_and_deviation(found[pair, method]) for method in METHODS),
            *(f"{PUBLISHED[pair][place]:.3f}" for place in (1, 0, 3, 2)),
        ]
        for pair in pairs
    ]
    # over the pairs of each seed, so that the deviation is that of a whole table
    means = [
        [statistics.mean(found[pair, method][s] for pair in pairs) for s in range(chosen.seeds)]
        for method in METHODS
    ]
    published = [
        statistics.mean(PUBLISHED[pair][place] for pair in pairs) for place in (1, 0, 3, 2)
    ]
    rows.append(["mean", *map(mean_and_deviation, means), *(f"{mean:.3f}" for mean in published)])
    print_table(columns, rows)
    for method in METHODS[1:3]:
        _print_gain(method, found, pairs)


def _print_gain(
    method: str, found: dict[tuple[tuple[str, str], str], list[float]], pairs: list[tuple[str, str]]
) -> None:
    """Say what a method gained over source-only, on the same rows."""
    gains = [
        100 * (statistics.mean(found[pair, method]) - statistics.mean(found[pair, METHODS[0]]))
        for pair in pairs
    ]
    print(
        f"{method} against source-only: {statistics.mean(gains):+.2f} points on average, from "
        f"{min(gains):+.2f} to {max(gains):+.2f}; better in {sum(gain > 0 for gain in gains)} of "
        f"{len(gains)} pairs."
    )


def _read(domain: str) -> Rows:
    path = data_dir() / "text" / "amazon_reviews" / f"{domain}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def _train(
    method: str,
    source: str,
    target: str,
    seed: int,
    reviews: dict[str, Rows],
    chosen: argparse.Namespace,
) -> float:
    """Return the accuracy on the target's test rows."""
    order = np.random.default_rng([seed, DOMAINS.index(target)]).permutation(len(reviews[target]))
    shuffled = [reviews[target][place] for place in order]
    tested, adapted_to = shuffled[:TESTED], shuffled[TESTED:]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        trained_on = adapted_to if method == "target-trained" else reviews[source]
        _write(root / "source", trained_on, tested)
        _write(root / "target", adapted_to, tested)
        metrics = run_experiment(_config(root, method, seed, chosen)).load_metrics()
    gc.collect()  # layers and functions refer to each other
    if "adaptation" in metrics and metrics["adaptation"]["target_test_rows"] != TESTED:
        raise SystemExit(f"error: not all test rows were measured on: {metrics['adaptation']}")
    return float(metrics["test"]["accuracy"])


def _write(folder: Path, train: Rows, test: Rows) -> None:
    folder.mkdir()
    for name, rows in (("train", train), ("test", test)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])


def _config(root: Path, method: str, seed: int, chosen: argparse.Namespace) -> Config:
    strategy = {"CORAL": "coral", "DANN": "dann"}.get(method, "feature_extraction")
    asked = AdaptationConfig()
    if strategy != "feature_extraction":
        weight = chosen.coral if method == "CORAL" else chosen.dann
        asked = AdaptationConfig(target=str(root / "target"), weight=weight)
    return Config(
        run=str(root / "run"),
        seed=seed,
        data=DataConfig(source=str(root / "source")),
        encoder=EncoderConfig(chosen.encoder, offline=True),
        head=HeadConfig(hidden=(chosen.hidden,)),
        training=TrainingConfig(
            strategy=strategy,
            epochs=chosen.epochs,
            # as many source rows a step in all methods: half of these batches is of the target
            batch_size=64 if strategy == "feature_extraction" else 128,
        ),
        adaptation=asked,
        evaluation=EvaluationConfig(baselines=(), bootstrap=10),
    )


if __name__ == "__main__":
    main()
