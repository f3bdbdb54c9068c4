"""The encoder stays as it is; the head is trained on its vectors."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.data.augmentation import augmented_features
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.pipeline import Features, Order, batches, text_features
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.bulk_words import BulkWordEncoder
from tfhub_transfer.encoders.cache import FeatureCache
from tfhub_transfer.encoders.word_cache import WordCache
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.objective import Objective
from tfhub_transfer.training.stages import fit_stages, plan
from tfhub_transfer.training.strategy import Outcome, Strategy

_TEXTS_AT_ONCE = 4096
# A step of a small head takes less time than Python needs to start it.
_STEPS_PER_CALL = 16


class FeatureExtraction(Strategy):
    """Encodes every distinct text once, then trains the head on vectors.

    Without the cache (`--encoder.cache false`) strings go through the frozen encoder in every
    epoch, which gives the same head and takes longer.
    """

    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train the classifier's network; its encoder is not touched."""
        config, encoder = self.config, classifier.encoder
        encoder.trainable = False
        by_word = encoder.by_word is not None
        bulk: Any = (BulkWordEncoder if by_word else BulkEncoder)(encoder, config.encoder.precision)
        start = time.monotonic()
        if config.encoder.cache:
            cache: Any = (WordCache if by_word else FeatureCache).open(
                encoder.fingerprint,
                width=encoder.width,
                precision=config.encoder.precision,
            )

            def encode(texts: Sequence[str]) -> np.ndarray:
                return cache.read(cache.add([texts], bulk))

            @functools.cache  # of each split, not of each use
            def rows(examples: Examples) -> np.ndarray:
                return cache.add(examples.batches(_TEXTS_AT_ONCE), bulk, total=len(examples))

            def features(examples: Examples) -> Features:
                placed = rows(examples)
                return lambda positions: cache.read(placed[positions])

            model, steps_per_call = classifier.network, _STEPS_PER_CALL
        else:
            encode = bulk.padded if by_word else bulk
            features, model, steps_per_call = text_features, classifier.model, 1
        features = functools.cache(features)
        features(data.train), features(data.validation)
        if config.encoder.cache:
            features(data.test)  # so that the time to encode is that of all texts
        encode_seconds = time.monotonic() - start

        objective = self.objective or Objective.ground_truth(
            classifier.head, data, truncate=config.training.truncate_loss
        )

        def batches_of(examples: Examples, order: Order | None = None) -> tf.data.Dataset:
            targets = functools.partial(objective.targets, examples)
            size, taken = config.training.batch_size, features(examples)
            if order and not config.encoder.cache:
                taken = augmented_features(examples, order, config.data, seed=config.seed)
            return batches(taken, examples, targets, size, order=order)

        def lengths(examples: Examples) -> np.ndarray | None:
            # rows of words of like length need little padding
            return cache.lengths(rows(examples)) if by_word and config.encoder.cache else None

        def train(examples: Examples) -> tuple[Order, tf.data.Dataset]:
            order = objective.order(
                examples,
                len(data.labels),
                balance=config.data.balance,
                seed=config.seed,
                lengths=lengths(examples),
                batch_size=config.training.batch_size,
            )
            return order, batches_of(examples, order)

        progress, details = fit_stages(
            plan(config, data),
            model,
            objective,
            train,
            batches_of(data.validation),
            encoder=encoder,
            config=config,
            run=self.run,
            steps_per_call=steps_per_call,
        )
        return Outcome(progress, encode_seconds, encode, details=details)
