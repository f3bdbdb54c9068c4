"""A configuration -> a trained model, honestly measured, in a run directory."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from tensorflow.python.util import _pywrap_determinism

from tfhub_transfer.checks import moves_encoder
from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.evaluation.page import Page
from tfhub_transfer.evaluation.task import Task
from tfhub_transfer.registry import EVALUATIONS, STRATEGIES
from tfhub_transfer.runs import Run, environment
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.strategy import Outcome

_PARITY_TEXTS = 64
_PARITY_CHARACTERS = 100_000  # they go through the encoder in one call
# Outputs may differ by this between the vectors a head was trained on and the model that is saved:
# rounding in float32, and bfloat16's 8 bits where they were asked for. Those of words are logits,
# and the cache holds their vectors in half precision.
_PARITY = {
    "pooled": {"float32": 1e-5, "bfloat16": 0.05},
    "words": {"float32": 0.05, "bfloat16": 0.5},
}


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
    task: Task = EVALUATIONS.load(config.task)(config)
    with run.lock():
        if not config.overwrite:
            run.begin(config)
        data = task.load(run.rejected_file)
        baselines = task.ready_baselines(data)
        classifier = new_classifier(config, data)
        data = task.prepared(data, classifier)
        if config.overwrite:  # a mistyped column or encoder should not cost the run that is there
            run.begin(config)
        outcome = fit_classifier(config, run, classifier, data)
        difference = check_parity(classifier, outcome, data.validation, config.encoder.precision)
        classifier.save(run.model_file)

        test, validation = task.rows(data, "test"), task.rows(data, "validation")
        task.settle(classifier, validation, outcome.encode)
        answers = task.answer(classifier, test, outcome.encode)
        task.keep(run, data, task.answer(classifier, validation, outcome.encode), answers)
        measured = task.measure(
            classifier, test, answers, bootstrap=config.evaluation.bootstrap
        )
        metrics = _metrics(task, data, classifier, outcome, measured, baselines)
        metrics["parity"] = difference
        metrics["timing"] = {
            "encode_s": round(outcome.encode_seconds, 3),
            "train_s": round(outcome.progress.seconds, 3),
            "total_s": round(time.monotonic() - start, 3),
        }
        run.write_json("metrics.json", metrics)
        page = Page(
            title=f"{data.name} with {classifier.encoder.encoder.name}",
            metrics=metrics,
            baselines=metrics["baselines"],
            config=config.to_dict(),
            history=outcome.progress.history,
            data_summary=metrics["data_summary"],
            notes=tuple(metrics["notes"]),
            command=f"python -m tfhub_transfer.train --config "
            f"{shlex.quote(str(run.config_file))} --run NEW_DIRECTORY",
            environment=environment(),
            timing=metrics["timing"],
        )
        task.write_report(run, page, classifier, test, answers)
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
    return Classifier.build(config, data.labels, encoder=encoder, **data.facts)


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
        The largest difference between two outputs.

    Raises:
        TrainingError: it is more than rounding explains.
    """
    texts = examples.encodable(np.arange(min(_PARITY_TEXTS, len(examples))))
    sizes = [len("".join(text)) for text in texts]  # of a pair, both together
    texts = texts[: max(1, int((np.cumsum(sizes) <= _PARITY_CHARACTERS).sum()))]
    whole = classifier.whole(texts)
    (parts,) = classifier.predict([texts], outcome.encode)
    # what is equal may be the infinity that a CRF forbids with
    differs = whole != parts
    difference = float(np.abs(whole[differs] - parts[differs]).max(initial=0.0))
    allowed = _PARITY["words" if classifier.encoder.by_word else "pooled"][precision]
    if not difference <= allowed:
        raise TrainingError(
            f"The model to be saved differs from the one that was trained: its outputs for "
            f"{len(texts)} texts should agree to {allowed:g}. A damaged feature cache "
            f"does this; --encoder.cache false trains without it. Received: {difference:g}"
        )
    return difference


def _metrics(
    task: Task,
    data: Dataset,
    classifier: Classifier,
    outcome: Outcome,
    test: dict[str, Any],
    baselines: Mapping[str, Any],
) -> dict[str, Any]:
    """Return `metrics.json` but for the timing."""
    config, progress, spec = task.config, outcome.progress, classifier.encoder.encoder.spec
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
    fitted, told = task.fit_baselines(baselines if progress.finished else {}, data)
    return {
        "task": config.task,
        "data": data.name,
        "data_summary": task.summary(data),
        "encoder": classifier.encoder.encoder.name,
        "encoder_licence": spec.licence if spec else None,
        "strategy": config.training.strategy,
        "labels": list(data.labels),
        **{name: getattr(classifier.head, name) for name in classifier.head.facts},
        "finished": progress.finished,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation": {
            "n": len(data.validation),
            "loss": best["val_loss"],
            "accuracy": best["val_accuracy"],
        },
        "test": test,
        **outcome.details,
        "baselines": fitted,
        "notes": [*notes, *told],
    }
