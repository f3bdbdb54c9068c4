"""The encoder's weights, all or some, move together with the head's."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfhub_transfer.data.augmentation import augmented_features
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.pipeline import Features, Order, batches, text_features
from tfhub_transfer.encoders.bulk_words import bulk_encode
from tfhub_transfer.encoders.lengths import token_counts
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.groups import encoder_rate, rates_of
from tfhub_transfer.training.objective import Objective
from tfhub_transfer.training.stages import fit_stages, plan
from tfhub_transfer.training.strategy import Outcome, Strategy

_TEXTS_AT_ONCE = 4096


class FineTuning(Strategy):
    """Trains strings-in; `training.groups` says which of the encoder's weights move, how fast."""

    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train the head and the chosen weights of the encoder, in one stage or several."""
        config, encoder = self.config, classifier.encoder
        stages = plan(config, data, rates_of(encoder, config.training), depth=encoder.depth)
        objective = self.objective or Objective.ground_truth(
            classifier.head, data, truncate=config.training.truncate_loss
        )

        def batches_of(
            examples: Examples, features: Features, order: Order | None = None
        ) -> tf.data.Dataset:
            targets = functools.partial(objective.targets, examples)
            size = config.training.batch_size
            return batches(features, examples, targets, size, order=order)

        @functools.cache  # stages go over the same examples
        def lengths(examples: Examples) -> np.ndarray | None:
            # a text embedding does not pad, and mixes better without
            if encoder.encoder.preprocess is None:
                return None
            return token_counts(encoder, examples.batches(_TEXTS_AT_ONCE))

        def train(examples: Examples) -> tuple[Order, tf.data.Dataset]:
            order = objective.order(
                examples,
                len(data.labels),
                balance=config.data.balance,
                seed=config.seed,
                lengths=lengths(examples),
                batch_size=config.training.batch_size,
            )
            features = augmented_features(examples, order, config.data, seed=config.seed)
            return order, batches_of(examples, features, order)

        validation = data.validation
        if (counts := lengths(validation)) is not None:
            validation = validation.take(np.argsort(counts, kind="stable"))
        encoder.train_in(config.training.precision)
        rate = encoder_rate(encoder, config.training)
        progress, details = fit_stages(
            stages,
            classifier.model,
            objective,
            train,
            batches_of(validation, text_features(validation)),
            encoder=encoder,
            config=config,
            run=self.run,
            rate=rate / config.training.peak_rate,
        )
        details["encoder_learning_rate"] = rate
        return Outcome(progress, 0.0, bulk_encode(encoder), details=details)
