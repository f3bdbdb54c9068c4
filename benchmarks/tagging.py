"""Entities and slots on real data: test F1 of taggers, beside a CRF on features of words.

Each row is a run of `python -m tfhub_transfer.train --task tagging`, in a process of its own. Rows
that were finished with the same settings are not trained again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached
from benchmarks.training_runs import chosen_rows, train_once

RUNS = ROOT / "runs" / "benchmarks"


@dataclass(frozen=True)
class Row:
    """A run and what it must reach.

    Attributes:
        name: of the row and the run directory.
        source: a folder of the real data.
        flags: of the command.
        targets: measures of the test rows, and the least that they must be.
    """

    name: str
    source: str
    flags: tuple[str, ...]
    targets: dict[str, float] = field(default_factory=dict)


SHARED = (
    *("--task", "tagging", "--encoder.name", "minilm-l6", "--encoder.offline", "true"),
    *("--evaluation.baselines", '["frequent_tag", "crf_features"]'),
)
TUNED = (
    *("--training.strategy", "fine_tuning", "--training.precision", "bfloat16"),
    *("--training.decay", "linear", "--training.weight_decay", "0.01"),
    *("--training.encoder_learning_rate", "2e-4", "--training.batch_size", "32"),
    *("--head.dropout", "0.1", "--training.patience", "20"),
)
# The encoder's vocabulary has no capital letters.
CASED = ("--tagging.word_shapes", "true")
ROWS = (
    Row(
        "conll2003-tuned",
        "ner/conll2003",
        (
            *(*TUNED, *CASED, "--tagging.recurrent", "200", "--tagging.crf", "true"),
            *("--head.dropout", "0.5", "--training.epochs", "6", "--training.keep", "last"),
        ),
        {"f1": 0.880},
    ),
    Row(
        "conll2003-frozen",
        "ner/conll2003",
        (
            *("--tagging.recurrent", "200", "--tagging.crf", "true", "--training.epochs", "20"),
            *("--head.dropout", "0.5", "--training.batch_size", "32", *CASED),
        ),
        {"f1": 0.840},
    ),
    Row(
        "atis-tuned",
        "slots/atis",
        (*TUNED, "--training.epochs", "15"),
        {"intent_accuracy": 0.965, "f1": 0.945},
    ),
    Row(
        "wnut17-tuned", "ner/wnut17", (*TUNED, *CASED, "--training.epochs", "10"), {"f1": 0.380}
    ),
)
NAMES = {"f1": "F1", "intent_accuracy": "intents"}


def main() -> None:
    """Train what is missing and print the table."""
    chosen, wanted, further = chosen_rows("tagging", __doc__, ROWS, RUNS)
    cells = []
    for row in wanted:
        flags = ["--data.source", str(data_dir() / row.source), *SHARED, *row.flags, *further]
        run = train_once(chosen.runs / row.name, flags, again=chosen.again)
        cells.append(_cells(row, run.load_metrics()))
    print_heading("Test F1 of entities and slots on real data")
    print_table(
        ["Run", "Strategy", "Sentences", "F1", "95% interval", "Partial F1", "Intents",
         "CRF on features", "Most frequent tag", "Target", "Encoding, s", "Training, s", "Reached"],
        cells,
    )  # fmt: skip
    for row in wanted:
        own = " ".join([*SHARED, *row.flags, *further])
        print(f"- {row.name}: `python -m tfhub_transfer.train --data.source {row.source} {own}`")


def _cells(row: Row, metrics: dict[str, Any]) -> list[str]:
    test, timing, baselines = metrics["test"], metrics["timing"], metrics["baselines"]
    low, high = test["ci95"]["f1"]
    intents = test.get("intent_accuracy")
    return [
        row.name,
        metrics["strategy"],
        f"{test['n']:,}",
        f"{test['f1']:.4f}",
        f"{low:.3f} to {high:.3f}",
        f"{test['partial']['f1']:.3f}",
        "" if intents is None else f"{intents:.4f}",
        f"{baselines['crf_features']['f1']:.3f}",
        f"{baselines['frequent_tag']['f1']:.3f}",
        ", ".join(f"{NAMES[key]} {target:.3f}" for key, target in row.targets.items()),
        f"{timing['encode_s']:.1f}",
        f"{timing['train_s']:.1f}",
        reached(all(test[key] >= target for key, target in row.targets.items())),
    ]


if __name__ == "__main__":
    main()
