"""Few examples: pairs of them move the encoder, then the head is fitted on its vectors."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.pipeline import Features, Order, batches
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.cache import FeatureCache
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.loop import Progress, fit
from tfhub_transfer.training.objective import Objective
from tfhub_transfer.training.pair_training import PairProgress, PairTraining
from tfhub_transfer.training.strategy import Outcome, Strategy

__all__ = ["Contrastive"]

_TEXTS_AT_ONCE = 4096
# Of the head, in an epoch of few rows, which go through it several times: in as many epochs of a
# single step each a new head would stay almost as it was. They are one call into the graph.
_STEPS = 16


class Contrastive(Strategy):
    """SetFit (Tunstall et al. 2022, arXiv 2209.11055), with all pairs of a batch in each step.

    The validation rows, which are often many more than the few that are trained on, choose nothing:
    the steps on pairs are a fixed number, the head goes through all its epochs and keeps the last.
    They are measured after each epoch, so that the report shows how it went.

    It is for transformers: a text embedding has a vector for each word, and those of a few texts
    tell nothing of other words. With minilm-static it made AG News worse at 8 texts a class.
    """

    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train the encoder on pairs of the training rows, then the head on their vectors."""
        config, encoder = self.config, classifier.encoder
        pairs = PairTraining(encoder, data.train, config, self.run)
        reached = pairs.load() if config.resume else PairProgress(0, pairs.total)
        resume_head = config.resume and reached.finished
        if not reached.finished:
            # if Ctrl-C ended the pairs before, a head was fitted on the vectors of then
            for left in set(self.run.checkpoints.glob("*.safetensors")) - {pairs.file}:
                left.unlink()
            pairs.take_steps(reached)
        encoder.trainable = False
        encode = BulkEncoder(encoder, config.encoder.precision)
        with tempfile.TemporaryDirectory(prefix="tfhub_transfer-") as folder:
            # a cache of its own, for no other run will have these weights
            cache = FeatureCache.open(
                "contrastive",
                width=encoder.width,
                precision=config.encoder.precision,
                root=Path(folder),
            )

            def features(examples: Examples) -> Features:
                rows = cache.add(examples.batches(_TEXTS_AT_ONCE), encode, total=len(examples))
                return lambda positions: cache.read(rows[positions])

            start = time.monotonic()
            train = features(data.train)
            ready = time.monotonic()
            validation = features(data.validation)
            encode_seconds = time.monotonic() - ready
            progress = self._fit_head(classifier, data, train, validation, resume=resume_head)
        progress.seconds += reached.seconds + ready - start
        progress.finished &= reached.finished
        return Outcome(
            progress,
            encode_seconds,
            encode,
            notes=_notes(reached, encoder),
            details={"contrastive": _described(reached, pairs.batch_size)},
        )

    def _fit_head(
        self,
        classifier: Classifier,
        data: Dataset,
        train: Features,
        validation: Features,
        *,
        resume: bool,
    ) -> Progress:
        """Fit the classifier's network on vectors and leave it as it is after the last epoch."""
        config, network = self.config, classifier.network
        size = config.training.batch_size
        objective = self.objective or Objective.ground_truth(
            classifier.head, data, truncate=config.training.truncate_loss
        )
        passes = max(1, round(_STEPS * size / len(data.train)))
        places = np.tile(np.arange(len(data.train)), passes)
        repeated = data.train.take(places)
        order = Order(repeated, len(data.labels), balance=config.data.balance, seed=config.seed)

        def batches_of(
            examples: Examples, features: Features, order: Order | None = None
        ) -> tf.data.Dataset:
            targets = functools.partial(objective.targets, examples)
            return batches(features, examples, targets, size, order=order)

        return fit(
            network,
            objective,
            batches_of(repeated, lambda positions: train(places[positions]), order),
            batches_of(data.validation, validation),
            order=order,
            config=dataclasses.replace(config.training, keep="last"),
            run=self.run,
            resume=resume,
            steps_per_call=_STEPS,
        )


def _notes(reached: PairProgress, encoder: HubLayer) -> tuple[str, ...]:
    notes = []
    if encoder.encoder.preprocess is None:
        notes.append(
            f"{encoder.encoder.handle} is no transformer, and training on pairs often makes such "
            f"an encoder worse: compare with the strategy feature_extraction, or take minilm-l6."
        )
    if not reached.finished:
        notes.append(
            f"Training on pairs was interrupted after {reached.steps} of {reached.total} steps; "
            f"the head was fitted on the vectors of then."
        )
    return tuple(notes)


def _described(reached: PairProgress, texts: int) -> dict[str, object]:
    return {
        "steps": reached.steps,
        "texts": reached.steps * texts,
        "seconds": round(reached.seconds, 3),
        "first_loss": reached.losses[0],
        "last_loss": reached.losses[-1],
    }
