"""What does a teacher give? IMDB with minilm-static fine-tuned alone, and distilled from a teacher.

The student is the same in each row: four epochs, the same head and rates. Beside its labels it
learns from the teacher's softened answers, and in further rows from its vectors, or its answers to
IMDB's 50,000 unlabelled reviews. The teacher is asked in bfloat16, and was tested in float32.
Speeds are of the same test reviews, text in, label out, both models in this process, in float32.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.resumable import Measurements, mean_and_deviation
from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached
from tfhub_transfer.config import (
    Config,
    DataConfig,
    DistillationConfig,
    EncoderConfig,
    EvaluationConfig,
    HeadConfig,
    TrainingConfig,
)
from tfhub_transfer.data.splits import load
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

SHARE, FASTER = 0.96, 50.0
UNLABELLED = "tfds:imdb_reviews:unsupervised"
STUDENTS: dict[str, dict[str, Any] | None] = {
    "alone": None,
    "distilled": {},
    "distilled, vectors too": {"vectors": 1.0},
    "distilled, unlabelled reviews too": {"unlabelled": UNLABELLED},
}


def main() -> None:
    """Train what is missing and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.distillation", description=__doc__
    )
    arguments.add_argument(
        "--teacher", type=Path, required=True, help="the directory of a finished run on IMDB"
    )
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--student", action="append", choices=list(STUDENTS))
    arguments.add_argument("--temperature", type=float, default=2.0)
    arguments.add_argument("--weight", type=float, default=0.9)
    arguments.add_argument("--limit", type=int, help="rows of each split at most, to try it out")
    arguments.add_argument("--texts", type=int, default=2000, help="for the speeds")
    arguments.add_argument(
        "--state", type=Path, default=ROOT / "runs" / "benchmarks" / "distillation.json"
    )
    chosen = arguments.parse_args()
    teacher = Run.open(chosen.teacher)
    told = teacher.load_metrics()
    accuracy = told["test"]["accuracy"]
    settings = {
        "teacher": f"{told['encoder']}, {told['strategy']}, {accuracy:.4f}",
        "temperature": chosen.temperature,
        "weight": chosen.weight,
        "limit": chosen.limit,
    }
    kept = Measurements(chosen.state, settings)
    names = [name for name in STUDENTS if not chosen.student or name in chosen.student]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(chosen.seeds):
        for name in names:
            results[name].append(
                kept.get(f"{name}, seed {seed}", lambda n=name, s=seed: _train(n, s, chosen))
            )
    speeds = kept.get(f"speed, {chosen.texts} texts", lambda: _speeds(chosen))
    faster = speeds["student"] / speeds["teacher"]

    print_heading("A student and its teacher on IMDB")
    print(f"{__doc__}\n".split("\n\n", 1)[1])
    print(
        f"Teacher: {settings['teacher']} test accuracy, {speeds['teacher']:,.0f} texts/s. "
        f"Student: minilm-static, {speeds['student']:,.0f} texts/s, {faster:,.0f} times as many "
        f"(aimed at: {FASTER:g} times). Temperature {chosen.temperature:g}, weight of the softened "
        f"loss {chosen.weight:g}.\n"
    )
    alone = [run["accuracy"] for run in results.get("alone", [])]
    rows = []
    for name, runs in results.items():
        scores = [run["accuracy"] for run in runs]
        share = statistics.mean(scores) / accuracy
        gains = [100 * (score - base) for score, base in zip(scores, alone, strict=False)]
        good = share >= SHARE and faster >= FASTER
        rows.append(
            [
                name,
                mean_and_deviation(scores),
                _gain(gains) if name != "alone" else "",
                f"{share:.1%}",
                mean_and_deviation([run["log_loss"] for run in runs]),
                f"{statistics.mean(run['seconds'] for run in runs):.0f}",
                reached(good) if name != "alone" else "",
            ]
        )
    columns = ["Student", "Test accuracy", "Gain in points", "Of the teacher's", "Log loss"]
    columns += ["Training, s", f"{SHARE:.0%} at {FASTER:g} times"]
    print_table(columns, rows)
    print(
        f"Means of {chosen.seeds} seeds, with the standard deviation; gains are over the student "
        f"alone, of the same seed. Training: without asking the teacher, whose answers are "
        f"computed once and kept; beside other processes the seconds mean little."
    )


def _gain(points: list[float]) -> str:
    if not points:
        return "not measured"
    spread = f" ± {statistics.stdev(points):.2f}" if len(points) > 1 else ""
    return f"{statistics.mean(points):+.2f}{spread}"


def _config(folder: str, name: str, seed: int, chosen: argparse.Namespace) -> Config:
    asked = STUDENTS[name]
    distillation = DistillationConfig()
    if asked is not None:
        distillation = DistillationConfig(
            teacher=str(chosen.teacher),
            temperature=chosen.temperature,
            weight=chosen.weight,
            precision="bfloat16",
            **asked,
        )
    return Config(
        run=f"{folder}/run",
        seed=seed,
        data=DataConfig("tfds:imdb_reviews", dir=str(data_dir() / "tfds"), limit=chosen.limit),
        encoder=EncoderConfig("minilm-static", offline=True),
        head=HeadConfig(dropout=0.5),
        training=TrainingConfig(
            strategy="fine_tuning" if asked is None else "distillation",
            epochs=4,
            encoder_learning_rate=3e-4,
        ),
        distillation=distillation,
        evaluation=EvaluationConfig(baselines=(), bootstrap=10),
    )


def _train(name: str, seed: int, chosen: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        metrics = run_experiment(_config(folder, name, seed, chosen)).load_metrics()
    gc.collect()  # layers and functions refer to each other
    return {
        "accuracy": metrics["test"]["accuracy"],
        "log_loss": metrics["test"]["log_loss"],
        "seconds": metrics["timing"]["train_s"],
    }


def _speeds(chosen: argparse.Namespace) -> dict[str, float]:
    """Return texts/s of both, of the best of three passes each, in turn."""
    config = _config("", "alone", 0, chosen)
    data = load(config.data, seed=0)
    texts = data.test.texts()[: chosen.texts]
    models = {
        "teacher": Classifier.load(Run.open(chosen.teacher)),
        "student": Classifier.build(config, data.labels, multi_label=False),
    }
    best = dict.fromkeys(models, 0.0)
    for model in models.values():
        list(model.predict([texts[:64]]))
    for _ in range(3):
        for name, model in models.items():
            start = time.monotonic()
            list(model.predict([texts]))
            best[name] = max(best[name], len(texts) / (time.monotonic() - start))
    return best


if __name__ == "__main__":
    main()
