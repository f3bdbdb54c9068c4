"""The encoder's weights, all or some, move together with the head's."""

from __future__ import annotations

from tfhub_transfer.config import ENCODER_LEARNING_RATES
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.pipeline import Order, batches, text_features
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.loop import fit
from tfhub_transfer.training.strategy import Outcome, Strategy


class FineTuning(Strategy):
    """Trains strings-in; `training.trainable` chooses the encoder's weights by their path."""

    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train the head and the chosen weights of the encoder."""
        config = self.config
        encoder = classifier.encoder
        moving = encoder.move(config.training.trainable)
        kind = "transformer" if encoder.encoder.preprocess else "text_embedding"
        rate = config.training.encoder_learning_rate or ENCODER_LEARNING_RATES[kind]
        classes, size = len(data.labels), config.training.batch_size
        order = Order(data.train, classes, balance=config.data.balance, seed=config.seed)
        progress = fit(
            classifier.model,
            classifier.head,
            batches(text_features(data.train), data.train, classes, size, order=order),
            batches(text_features(data.validation), data.validation, classes, size),
            order=order,
            config=config.training,
            run=self.run,
            resume=config.resume,
            multipliers=dict.fromkeys(moving, rate / config.training.learning_rate),
        )
        return Outcome(progress, 0.0, BulkEncoder(encoder))
