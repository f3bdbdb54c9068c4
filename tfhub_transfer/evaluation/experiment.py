"""A configuration -> a trained model, honestly measured, in a run directory."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.util import _pywrap_determinism

from tfhub_transfer.checks import moves_encoder
from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.evaluation.baselines import (
    Baseline,
    baseline_rows,
    measure,
    ready_baselines,
)
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.evaluation.predictions import Predictions, Split, sample_texts
from tfhub_transfer.evaluation.report import Report, most_confident_mistakes, write_report
from tfhub_transfer.progress import progress
from tfhub_transfer.registry import STRATEGIES
from tfhub_transfer.runs import Run, environment
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.strategy import Outcome

_TEXTS_AT_ONCE = 1024
_PARITY_TEXTS = 64
# Probabilities may differ by this between the vectors a head was trained on and the model that is
# saved: rounding in float32, and bfloat16's 8 bits where they were asked for.
_PARITY = {"float32": 1e-5, "bfloat16": 0.05}


def run_experiment(config: Config) -> Run:
    """Train, measure and report as `config` says; the whole of `python -m tfhub_transfer.train`.

    Args:
        config: of the run.

    Returns:
        The run directory, with model, metrics and report in it.

    Raises:
        TransferError: whatever the parts raise on purpose.
        KeyboardInterrupt: Ctrl-C before there was anything to keep.
    """
    start = time.monotonic()
    run = Run.create(config)
    with run.lock():
        if not config.overwrite:
            run.begin(config)
        data = load(config.data, seed=config.seed, rejected=run.rejected_file)
        baselines = ready_baselines(config, data)
        classifier = new_classifier(config, data)
        if config.overwrite:  # a mistyped column or encoder should not cost the run that is there
            run.begin(config)
        outcome = fit_classifier(config, run, classifier, data)
        difference = check_parity(classifier, outcome, data.validation, config.encoder.precision)
        classifier.save(run.model_file)

        targets, probabilities = data.test.labels, probabilities_of(
            classifier, outcome, data.test
        )
        Predictions(
            Split(data.validation.labels, probabilities_of(classifier, outcome, data.validation)),
            Split(targets, probabilities),
            sample_texts(data.validation, config.seed),
        ).save(run)
        metrics = _metrics(config, data, classifier, outcome, probabilities, baselines)
        metrics["parity"] = difference
        metrics["timing"] = {
            "encode_s": round(outcome.encode_seconds, 3),
            "train_s": round(outcome.progress.seconds, 3),
            "total_s": round(time.monotonic() - start, 3),
        }
        run.write_json("metrics.json", metrics)
        write_report(
            run,
            result=Report(
                title=f"{data.name} with {classifier.encoder.encoder.name}",
                labels=data.labels,
                targets=targets,
                probabilities=probabilities,
                metrics=metrics,
                baselines=metrics["baselines"],
                config=config.to_dict(),
                history=outcome.progress.history,
                mistakes=most_confident_mistakes(
                    data.test.texts, targets, probabilities, data.labels, data.test.ids
                ),
                data_summary=metrics["data_summary"],
                notes=tuple(metrics["notes"]),
                command=f"python -m tfhub_transfer.train --config "
                f"{shlex.quote(str(run.config_file))} --run NEW_DIRECTORY",
                environment=environment(),
                timing=metrics["timing"],
            ),
        )
    return run


def new_classifier(
    config: Config, data: Dataset, encoder: keras.Layer | None = None
) -> Classifier:
    """Return an untrained classifier, whose weights the seed decides.

    Args:
        config: of the run.
        data: what it will be trained on.
        encoder: one that was loaded as `config.encoder` asks for it; loaded anew by default.
    """
    keras.utils.set_random_seed(config.seed)
    return Classifier.build(config, data.labels, multi_label=data.multi_label, encoder=encoder)


def fit_classifier(config: Config, run: Run, classifier: Classifier, data: Dataset) -> Outcome:
    """Train a new classifier; what a run does, and each trial of a search.

    Args:
        config: of the run.
        run: where checkpoints and the history go.
        classifier: as `new_classifier` returned it, just before.
        data: what is trained on.
    """
    with _determinism(classifier.encoder.repeatable):
        return STRATEGIES.load(config.training.strategy)(config, run).fit(classifier, data)


def probabilities_of(
    classifier: Classifier, outcome: Outcome, examples: Examples
) -> np.ndarray:
    """Return what a trained classifier says of examples, float32[N, C]."""
    parts = []
    with progress("Predicting", "texts", len(examples)) as advance:
        for part in classifier.predict(examples.batches(_TEXTS_AT_ONCE), outcome.encode):
            parts.append(part)
            advance(len(part))
    return np.concatenate(parts)


@contextlib.contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    """Have TensorFlow's ops repeat themselves, for a while; publicly it can only be turned on."""
    before = _pywrap_determinism.is_enabled()
    _pywrap_determinism.enable(wanted)
    try:
        yield
    finally:
        _pywrap_determinism.enable(before)


def check_parity(
    classifier: Classifier, outcome: Outcome, examples: Examples, precision: str
) -> float:
    """Compare the strings-in model with the way the head was trained, on real texts.

    Returns:
        The largest difference between two probabilities.

    Raises:
        TrainingError: it is more than rounding explains.
    """
    texts = examples.texts(np.arange(min(_PARITY_TEXTS, len(examples))))
    whole = classifier.model(tf.constant(texts), training=False).numpy()
    (parts,) = classifier.predict([texts], outcome.encode)
    difference = float(np.abs(whole - parts).max())
    if not difference <= _PARITY[precision]:
        raise TrainingError(
            f"The model to be saved differs from the one that was trained: probabilities of "
            f"{len(texts)} texts should agree to {_PARITY[precision]:g}. A damaged feature cache "
            f"does this; --encoder.cache false trains without it. Received: {difference:g}"
        )
    return difference


def _summary(data: Dataset) -> dict[str, Any]:
    """Return the data set's summary as a report takes it, the classes by their names."""
    summary = dict(data.summary)
    splits = {}
    for name in ("train", "validation", "test"):
        split = summary.pop(name)
        counts = dict(zip(data.labels, split["class_counts"], strict=True))
        splits[name] = {**split, "class_counts": counts}
    return {"splits": splits, **summary}


def _metrics(
    config: Config,
    data: Dataset,
    classifier: Classifier,
    outcome: Outcome,
    probabilities: np.ndarray,
    baselines: dict[str, Baseline],
) -> dict[str, Any]:
    """Return `metrics.json` but for the timing."""
    progress, spec = outcome.progress, classifier.encoder.encoder.spec
    notes = [*data.notes, *outcome.notes]
    if moves_encoder(config) and not classifier.encoder.repeatable:
        notes.append(
            "The encoder draws its dropout masks without a seed: a second run will differ a little."
        )
    if not progress.finished:
        notes.append(
            f"Training was interrupted after {progress.epoch} of {progress.planned} epochs; "
            f"the same command with --resume continues it."
        )
    best = progress.history[progress.best_epoch - 1]
    # who pressed Ctrl-C does not want to wait for baselines
    fitted = _fitted(baselines, config, data, notes) if progress.finished else {}
    return {
        "task": config.task,
        "data": data.name,
        "data_summary": _summary(data),
        "encoder": classifier.encoder.encoder.name,
        "encoder_licence": spec.licence if spec else None,
        "strategy": config.training.strategy,
        "labels": list(data.labels),
        "multi_label": data.multi_label,
        "finished": progress.finished,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation": {
            "n": len(data.validation),
            "loss": best["val_loss"],
            "accuracy": best["val_accuracy"],
        },
        "test": classification_metrics(
            data.test.labels,
            probabilities,
            data.labels,
            bootstrap=config.evaluation.bootstrap,
            seed=config.seed,
        ),
        **outcome.details,
        "baselines": fitted,
        "notes": notes,
    }


def _fitted(
    baselines: dict[str, Baseline], config: Config, data: Dataset, notes: list[str]
) -> dict[str, Any]:
    """Return the measures of the baselines, fitted on the same training rows."""
    if not baselines:
        return {}
    train, told = baseline_rows(config, data)
    notes += told
    return {
        name: measure(baseline, config, data, train).metrics
        for name, baseline in baselines.items()
    }
