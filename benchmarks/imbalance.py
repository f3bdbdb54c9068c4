"""What helps where one class is rare, and where labels are wrong? IMDB, spoilt on purpose.

Rare: of the 12,500 positive training reviews, 625 are kept, drawn with the seed, so that there are
20 negative ones to each. The validation rows are carved out of those, and so as rare. The test is
IMDB's own, balanced; macro F1 is also given for a 1:20 draw of it, as such a model would meet. The
encoder is minilm-static, frozen, the head the default one.

Wrong: of the training labels, validation included, 20% are turned, drawn with the seed; the test's
are right. minilm-static is fine-tuned, with and without leaving out the 20% of each batch with the
highest loss.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.resumable import Measurements, mean_and_deviation
from benchmarks.table import ROOT, data_dir, print_heading, print_table
from tfhub_transfer.config import Config, DataConfig, EvaluationConfig, HeadConfig, TrainingConfig
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.predictions import Predictions

RATIO = 20
WRONG = 0.2
REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "class weights": {"data": {"balance": "class_weight"}},
    "oversampling": {"data": {"balance": "oversample"}},
    "undersampling": {"data": {"balance": "undersample"}},
    "focal loss": {"head": {"loss": "focal"}},
}
TRUNCATION = {"none": 0.0, "loss truncation": WRONG}

Rows = Sequence[tuple[str, int]]


def main() -> None:
    """Measure what is missing and print both tables."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.imbalance", description=__doc__)
    arguments.add_argument("--seeds", type=int, default=5, help="of the first table")
    arguments.add_argument("--noise_seeds", type=int, default=3, help="of the second table")
    arguments.add_argument("--limit", type=int, help="rows of each split at most, to try it out")
    arguments.add_argument(
        "--state", type=Path, default=ROOT / "runs" / "benchmarks" / "imbalance.json"
    )
    chosen = arguments.parse_args()
    kept = Measurements(chosen.state, {"limit": chosen.limit})
    train, test = _imdb("train", chosen.limit), _imdb("test", chosen.limit)
    rare: dict[str, list[dict[str, float]]] = {name: [] for name in REMEDIES}
    wrong: dict[str, list[dict[str, float]]] = {name: [] for name in TRUNCATION}
    for seed in range(chosen.seeds):
        for name, changes in REMEDIES.items():
            rare[name].append(
                kept.get(
                    f"rare, {name}, seed {seed}",
                    lambda s=seed, c=changes: _with_a_rare_class(train, test, s, c),
                )
            )
    for seed in range(chosen.noise_seeds):
        for name, share in TRUNCATION.items():
            wrong[name].append(
                kept.get(
                    f"wrong, {name}, seed {seed}",
                    lambda s=seed, t=share: _with_wrong_labels(train, test, s, t),
                )
            )
    print_heading("A rare class, and wrong labels: IMDB")
    print(f"{__doc__}\n".split("\n\n", 1)[1])
    for title, results in (
        (f"Rare, 1:{RATIO}, {chosen.seeds} seeds", rare),
        (f"{WRONG:.0%} wrong labels, {chosen.noise_seeds} seeds", wrong),
    ):
        if not any(results.values()):
            continue
        columns = list(next(iter(results.values()))[0])
        print_table(
            [title, *columns],
            [
                [name, *(mean_and_deviation([run[key] for run in runs]) for key in columns)]
                for name, runs in results.items()
            ],
        )


def _with_a_rare_class(train: Rows, test: Rows, seed: int, changes: dict[str, Any]) -> Any:
    rng = np.random.default_rng(seed)
    targets, p = _predicted([train[row] for row in _draw(train, rng)], test, seed, changes)
    rare = _draw(test, rng)
    answers = p > 0.5
    return {
        "Macro F1, balanced test": float(f1_score(targets, answers, average="macro")),
        "Recall of the rare class": float(answers[targets == 1].mean()),
        "Recall of the other": float(1 - answers[targets == 0].mean()),
        f"Macro F1, test 1:{RATIO}": float(
            f1_score(targets[rare], answers[rare], average="macro")
        ),
    }


def _with_wrong_labels(train: Rows, test: Rows, seed: int, share: float) -> Any:
    turned = np.random.default_rng(seed).random(len(train)) < WRONG
    spoilt = [
        (text, 1 - label if wrong else label)
        for (text, label), wrong in zip(train, turned, strict=True)
    ]
    changes = {
        "training": {
            "strategy": "fine_tuning",
            "epochs": 4,
            "truncate_loss": share,
            "encoder_learning_rate": 3e-4,
        },
        "head": {"dropout": 0.5},
    }
    targets, p = _predicted(spoilt, test, seed, changes)
    return {"Test accuracy": float(((p > 0.5) == targets).mean())}


def _predicted(
    train: Rows, test: Rows, seed: int, changes: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the test's targets, int[N], and the probabilities of class 1, float32[N]."""
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", train), ("test", test)):
            with (Path(folder) / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        run = run_experiment(
            Config(
                run=f"{folder}/run",
                seed=seed,
                data=DataConfig(source=folder, **changes.get("data", {})),
                head=HeadConfig(**changes.get("head", {})),
                training=TrainingConfig(**changes.get("training", {})),
                evaluation=EvaluationConfig(baselines=(), bootstrap=10),
            )
        )
        split = Predictions.load(run).test
    return split.targets, split.probabilities[:, 1]


def _draw(rows: Rows, rng: np.random.Generator) -> np.ndarray:
    """Return int64[n], the places of all of class 0 and of one in RATIO of class 1."""
    labels = np.array([label for _, label in rows])
    positive = np.flatnonzero(labels == 1)
    few = rng.choice(positive, len(positive) // RATIO, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(labels == 0), few]))


def _imdb(split: str, limit: int | None) -> Rows:
    config = DataConfig(source=f"tfds:imdb_reviews:{split}", dir=str(data_dir() / "tfds"))
    batches = open_source(config).splits["all"].read()
    rows = [
        (text or "", int(label == "pos"))
        for batch in batches
        for text, label in zip(batch.texts, batch.labels, strict=True)
    ]
    return rows if limit is None else rows[:limit]


if __name__ == "__main__":
    main()
