"""A finished run -> its measures on another data set; the whole of `tfhub_transfer.evaluate`."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.splits import LabelledExamples, load, load_labelled
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.evaluation.report import Report, most_confident_mistakes, write_report
from tfhub_transfer.runs import Run, config_from_dict, environment
from tfhub_transfer.training.classifier import Classifier

_TEXTS_AT_ONCE = 4096


def score_run(
    run: Run, data: DataConfig | None, *, bootstrap: int = 1000, output: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """Measure a run's model and write metrics and report.

    Args:
        run: a finished run.
        data: the rows to measure on: a test split, else validation, else all of one table. The
            run's own test split when None.
        bootstrap: resamples of the rows behind each 95% interval.
        output: where to write; `RUN/evaluations/NAME` when None.

    Returns:
        The directory written to, and what `metrics.json` holds there.

    Raises:
        TransferError: the run is not finished, or no row can be used.
    """
    start = time.monotonic()
    classifier = Classifier.load(run)
    config, head = config_from_dict(run.load_config()), classifier.head
    if data is None:
        own = load(config.data, seed=config.seed)
        measured = LabelledExamples(own.name, own.test, own.notes, {})
    else:
        slug = re.sub(r"[^\w.-]+", "-", Path(data.source).name).strip("-")
        output = output or run.path / "evaluations" / slug
        measured = load_labelled(
            data,
            labels=head.labels,
            multi_label=head.multi_label,
            seed=config.seed,
            rejected=output / "rejected.jsonl",
        )
    target = Run(output or run.path / "evaluations" / "own-test-split")
    examples = measured.examples
    probabilities = np.concatenate(list(classifier.predict(examples.batches(_TEXTS_AT_ONCE))))
    metrics: dict[str, Any] = {
        "task": config.task,
        "data": measured.name,
        "encoder": classifier.encoder.encoder.name,
        "strategy": config.training.strategy,
        "run": run.path.name,
        "labels": list(head.labels),
        "multi_label": head.multi_label,
        "test": classification_metrics(
            examples.labels, probabilities, head.labels, bootstrap=bootstrap, seed=config.seed
        ),
        "baselines": {},
        "notes": list(measured.notes),
        "timing": {"total_s": round(time.monotonic() - start, 3)},
    }
    target.write_json("metrics.json", metrics)
    write_report(
        target,
        result=Report(
            title=f"{run.path.name} measured on {measured.name}",
            labels=head.labels,
            targets=examples.labels,
            probabilities=probabilities,
            metrics=metrics,
            config=config.to_dict(),
            mistakes=most_confident_mistakes(
                examples.texts, examples.labels, probabilities, head.labels, examples.ids
            ),
            notes=measured.notes,
            command=f"python -m tfhub_transfer.evaluate --run {shlex.quote(str(run.path))}"
            + (f" --data.source {shlex.quote(data.source)}" if data else ""),
            environment=environment(),
            timing=metrics["timing"],
        ),
    )
    return target.path, metrics
