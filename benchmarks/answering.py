"""Questions on a sentence: a span model fine-tuned on QAMR, then on XQuAD without training on it.

QAMR's official training file is published apart, so its development questions are trained on; the
first 5,000 test questions are measured. One row is a run of `python -m tfhub_transfer.train
--task span`; what was finished with the same settings is not trained again.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached
from benchmarks.tagging import Row
from benchmarks.training_runs import chosen_rows, train_once
from tfhub_transfer.runs import Run

RUNS = ROOT / "runs" / "benchmarks"
QUESTIONS = 5000
TIMES = 2.0  # the baseline's F1

SHARED = ("--task", "span", "--encoder.name", "minilm-l6", "--encoder.offline", "true")
ROWS = (
    Row(
        "qamr-tuned",
        "qa/qamr",
        (
            *("--training.strategy", "fine_tuning", "--training.precision", "bfloat16"),
            *("--training.decay", "linear", "--training.weight_decay", "0.01"),
            *("--training.encoder_learning_rate", "2e-4", "--training.batch_size", "32"),
            *("--head.dropout", "0.1", "--training.epochs", "4", "--training.keep", "last"),
        ),
    ),
)


def main() -> None:
    """Train what is missing, measure XQuAD, and print the table."""
    chosen, wanted, further = chosen_rows("answering", __doc__, ROWS, RUNS)
    cells = []
    for row in wanted:
        source = _first_questions(data_dir() / row.source, chosen.runs / "qamr-first-5000")
        flags = ["--data.source", str(source), *SHARED, *row.flags, *further]
        run = train_once(chosen.runs / row.name, flags, again=chosen.again)
        cells.append(_cells("QAMR, first 5,000 test questions", run.load_metrics(), TIMES))
        cells.append(_cells("XQuAD, English, untrained on it", _on_xquad(run), None))
    print_heading("Exact match and F1 of answers on real data")
    print_table(
        ["Test set", "Questions", "F1", "95% interval", "Exact match", "95% interval",
         "TF-IDF window F1", "its exact match", "Target", "Reached"],
        cells,
    )  # fmt: skip
    for row in wanted:
        own = " ".join([*SHARED, *row.flags, *further])
        print(f"- {row.name}: `python -m tfhub_transfer.train --data.source {row.source} {own}`")


def _first_questions(source: Path, target: Path) -> Path:
    """Copy QAMR's files with the first questions of the test alone."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("wiki-sentences.tsv", "dev.tsv"):
        shutil.copyfile(source / name, target / name)
    with (source / "test.tsv").open(encoding="utf-8") as lines:
        first = list(itertools.islice(lines, QUESTIONS))
    (target / "test.tsv").write_text("".join(first), encoding="utf-8")
    return target


def _on_xquad(run: Run) -> dict[str, Any]:
    """Measure a run on XQuAD's English questions; returns its metrics."""
    output = run.path.parent / f"{run.path.name}-xquad"
    command = [sys.executable, "-m", "tfhub_transfer.evaluate", "--run", str(run.path)]
    command += ["--data.source", str(data_dir() / "qa" / "xquad" / "xquad.en.json")]
    shutil.rmtree(output, ignore_errors=True)
    subprocess.run(
        [*command, "--output", str(output)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    metrics: dict[str, Any] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def _cells(name: str, metrics: dict[str, Any], times: float | None) -> list[str]:
    test, baseline = metrics["test"], metrics["baselines"].get("tfidf_window")
    cells = [name, f"{test['n']:,}"]
    for key in ("f1", "exact_match"):
        low, high = test["ci95"][key]
        cells += [f"{test[key]:.3f}", f"{low:.3f} to {high:.3f}"]
    if baseline is None or times is None:
        return [*cells, "", "", "reported", ""]
    return [
        *cells,
        f"{baseline['f1']:.3f}",
        f"{baseline['exact_match']:.3f}",
        f"F1 {times * baseline['f1']:.3f}, {times:g} times the window's",
        reached(test["f1"] >= times * baseline["f1"]),
    ]


if __name__ == "__main__":
    main()
