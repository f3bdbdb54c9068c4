"""One trial: what `train` would do with its settings, measured on the validation rows alone."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfhub_transfer.checks import moves_encoder
from tfhub_transfer.config import Config, DataConfig, EncoderConfig
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import DISK_ERRORS, ConfigError, DiskError
from tfhub_transfer.evaluation.calibration import calibrated_log_loss
from tfhub_transfer.evaluation.classification import Classification
from tfhub_transfer.evaluation.experiment import fit_classifier, new_classifier
from tfhub_transfer.evaluation.metrics import predict
from tfhub_transfer.evaluation.predictions import Split
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.runs import Run, config_from_dict
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.limits import Limit, limited
from tfhub_transfer.training.search import Drawn, TrialFailedError
from tfhub_transfer.training.search_oracles import Budget
from tfhub_transfer.training.search_space import Space

__all__ = ["TrialRunner", "digest_of", "scores_of"]

# What may differ between trials of the same rows.
_SAME_ROWS: dict[str, Any] = {
    "balance": "none", "stages": (), "word_dropout": 0.0, "word_swap": 0.0
}  # fmt: skip
_ENCODERS = 4  # kept loaded


class TrialRunner:
    """Runs trials, one after the other, of what they share: rows, encoders, and finished twins.

    The labels of the test rows are withheld: no trial can be chosen for them.

    Args:
        space: what trials are drawn from.
        budget: ends a trial with its epoch.
    """

    def __init__(self, space: Space, budget: Budget):
        self._space, self.budget = space, budget
        self._data: tuple[tuple[DataConfig, str | None], Dataset] | None = None
        self._finished: dict[str, tuple[str, TrialResult]] = {}
        self._encoders: dict[EncoderConfig, keras.Layer] = {}

    def prepare(self) -> Dataset:
        """Load what the configuration's own trial needs: an error here would be every trial's."""
        config = self._space.config
        data = self._rows(config)
        self._encoder(config, data)
        return data

    def __call__(self, drawn: Drawn) -> Mapping[str, float]:
        """Run a trial, or take over what the same configuration came to.

        Raises:
            TrialFailedError: it came to nothing; the error is in its result.
            ConfigError: the configuration's own trial was refused, and so would be the others.
            DiskError: what it comes to cannot be kept; no trial fails of that.
            KeyboardInterrupt: Ctrl-C.
        """
        start = time.monotonic()
        config, settings = self._space.applied(drawn.settings)
        run, key = Run(drawn.directory), _key(config)
        whole = drawn.epochs is None  # of what hyperband draws, no two are the same
        earlier = TrialResult.load(run.path)
        if earlier is not None and earlier.settings == settings:
            return scores_of(earlier)  # killed before the oracle had kept it
        if whole and key in self._finished:
            number, twin = self._finished[key]
            result = dataclasses.replace(twin, epochs=0, repeats=number, seconds={})
        else:
            try:
                result = self._train(config, settings, drawn, run)
            except ConfigError as error:
                if not drawn.settings:
                    raise
                result = _failure(settings, error)
            except DiskError:  # which is the others' too
                raise
            except Exception as error:  # whatever one trial dies of, the others may live
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise DiskError(
                        f"Trial {drawn.number} could not be kept: {error}. It counts as not "
                        f"begun; --resume tries it again. Received: {run.path}"
                    ) from error
                result = _failure(settings, error)
            finally:
                # Keras keeps what it has made; of a hundred models that is too much
                keras.backend.clear_session()
                gc.collect()
        seconds = {"encode": 0.0, "train": 0.0, **result.seconds, "total": time.monotonic() - start}
        result = dataclasses.replace(
            result, seconds={name: round(value, 3) for name, value in seconds.items()}
        )
        meanwhile = TrialResult.load(run.path)
        if meanwhile is not None and meanwhile.settings == settings:
            return scores_of(meanwhile)  # of another worker, while this one was taken for lost
        result.save(run.path)
        if whole:  # what hyperband has drawn may go on
            shutil.rmtree(run.checkpoints, ignore_errors=True)
        self.remember(drawn.number, result)
        return scores_of(result)

    def remember(self, number: str, result: TrialResult) -> None:
        """Take in a trial, maybe of an earlier process, so that no later one repeats it."""
        if result.error is None and result.stopped is None and result.repeats is None:
            config, _ = self._space.applied(result.settings)
            self._finished[_key(config)] = (number, result)

    def _train(
        self, config: Config, settings: Mapping[str, Any], drawn: Drawn, run: Run
    ) -> TrialResult:
        before = _begin(config, drawn, run)
        config = dataclasses.replace(config, run=str(run.path), resume=run.checkpoints.exists())
        data = self._rows(config)
        limit = Limit(drawn.epochs or np.inf, self.budget.deadline)
        encoder = None if moves_encoder(config) else self._encoder(config, data)
        classifier = new_classifier(config, data, encoder)
        with limited(limit):
            outcome = fit_classifier(config, run, classifier, data)
        progress = outcome.progress
        if not (progress.finished or limit.reached(progress.epoch)):
            raise KeyboardInterrupt  # of which the training has made the best
        task = Classification(config)
        rows = task.rows(data, "validation")
        probabilities = task.answer(classifier, rows, outcome.encode)
        targets = data.validation.labels
        of_rounds = drawn.epochs is not None and progress.epoch >= drawn.epochs
        return TrialResult(
            settings,
            scores={
                "log_loss": calibrated_log_loss(Split(targets, probabilities)),
                "accuracy": float((predict(targets, probabilities) == targets).mean()),
            },
            epochs=progress.epoch,
            stopped=None if progress.finished else "hyperband" if of_rounds else "budget",
            seconds={
                "encode": outcome.encode_seconds,
                "train": sum(epoch["seconds"] for epoch in progress.history[before:]),
            },
        )

    def _rows(self, config: Config) -> Dataset:
        """Return what a trial trains and is measured on; the last is kept, for most share it."""
        same = dataclasses.replace(config.data, **_SAME_ROWS)
        key = (same, config.adaptation.labels)
        if self._data is None or self._data[0] != key:
            data = load(same, seed=config.seed, labels=config.adaptation.labels)
            test = dataclasses.replace(data.test, labels=np.zeros_like(data.test.labels))
            self._data = key, dataclasses.replace(data, test=test)
        return self._data[1]

    def _encoder(self, config: Config, data: Dataset) -> keras.Layer:
        """Return an encoder that no trial moves."""
        if config.encoder not in self._encoders:
            if len(self._encoders) == _ENCODERS:
                del self._encoders[next(iter(self._encoders))]
            classifier = Classifier.build(config, data.labels, multi_label=data.multi_label)
            self._encoders[config.encoder] = classifier.encoder
        return self._encoders[config.encoder]


def digest_of(data: Dataset) -> str:
    """Return a digest of the rows that trials learn from and are compared on."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (data.train, data.validation):
        digest.update(part.column.digests(0, len(part.column))[part.rows].tobytes())
        digest.update(part.labels.tobytes())
    return digest.hexdigest()


def _begin(config: Config, drawn: Drawn, run: Run) -> int:
    """Make ready the trial's directory; return the epochs of the trial that it continues.

    Of a trial whose checkpoints are no longer there, the epochs are trained again.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    if run.config_file.exists() and config_from_dict(run.load_config()) != config:
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    run.write_config(config)
    if drawn.parent is None:
        return 0
    there = Run(drawn.parent[0]).checkpoints
    if not run.checkpoints.exists() and there.exists():
        partial = run.path / "checkpoints.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(there, partial)
        partial.rename(run.checkpoints)
    return drawn.parent[1] if run.checkpoints.exists() else 0


def scores_of(result: TrialResult) -> Mapping[str, float]:
    """Return what a trial scored.

    Raises:
        TrialFailedError: it came to nothing.
    """
    if result.error is not None:
        raise TrialFailedError(result.error)
    return result.scores


def _key(config: Config) -> str:
    return json.dumps(config.to_dict())


def _failure(settings: Mapping[str, Any], error: Exception) -> TrialResult:
    return TrialResult(
        settings, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
    )
