"""An encoder learns which texts belong together, from pairs of a few labelled ones."""

from __future__ import annotations

import math
import re
import sys
import time
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.config import Config
from tfhub_transfer.data.augmentation import augment
from tfhub_transfer.data.examples import Examples
from tfhub_transfer.data.pairs import PairBatches
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.groups import encoder_rate, rates_of
from tfhub_transfer.training.interrupts import held_interrupts
from tfhub_transfer.training.optimizer import make_optimizer
from tfhub_transfer.training.pair_loss import cosine_regression, supervised_contrastive
from tfhub_transfer.training.schedule import WarmupDecay

__all__ = ["PairProgress", "PairTraining"]

# A batch is encoded in this many parts of like length: in one, all would be padded to the longest.
_PARTS = 4
# Where no number of steps is given: so many times as it takes for each class to have had its turn.
STEPS_PER_ROUND = 25
# A checkpoint has the size of three encoders, and a step takes about a second.
_SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass
class PairProgress:
    """How far the training on pairs has come; what its checkpoint holds beside the weights.

    Attributes:
        steps: whole ones.
        total: that there will be.
        seconds: spent in all, resumed parts included.
        losses: of each step.
    """

    steps: int
    total: int
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps == self.total


class PairTraining:
    """A fixed number of steps; nothing but the training rows is looked at.

    Each step draws a batch (`data.pairs`), encodes each of its texts once, with dropout, and moves
    the encoder by the loss over all pairs within.

    Args:
        encoder: whose weights move: those that `training.trainable`, `last_layers`, `groups` and
            `layer_decay` say.
        examples: with one label each.
        config: of the run.
        run: where the checkpoint goes.

    Attributes:
        file: the checkpoint.
        total: the number of steps.
        batch_size: texts of each.

    Raises:
        DataError: no pairs can be drawn from the examples.
        EncoderError: `training.trainable` matches nothing.
    """

    def __init__(self, encoder: HubLayer, examples: Examples, config: Config, run: Run):
        asked = config.contrastive
        self._encoder, self._examples, self._config = encoder, examples, config
        self._pairs = PairBatches(examples.labels, asked.batch_size, seed=config.seed)
        self.batch_size = self._pairs.batch_size
        self.total = asked.steps or STEPS_PER_ROUND * self._pairs.round
        # Few classes are soon apart, and what goes on moving the vectors then is the few texts' own
        # noise: a softer softmax, and a target that can be reached, gave AG News a point at 8 texts
        # a class. Of Banking77's 77 classes many are alike: the same cost it a point.
        self._temperature = asked.temperature or max(0.1, 0.8 / self._pairs.classes)
        self._regression = asked.regression
        if self._regression is None:
            self._regression = 20.0 / self._pairs.classes
        self.file = run.checkpoints / "pairs.safetensors"
        multipliers = rates_of(encoder, config.training)
        encoder.train_in(config.training.precision)
        encoder.move(f"^({'|'.join(map(re.escape, multipliers))})$")
        text = keras.Input((), dtype="string", name="text")
        self._model = keras.Model(text, encoder(text))
        training = config.training
        self._rate = encoder_rate(encoder, training)
        rate = WarmupDecay(self._rate, self.total, training.warmup, training.decay)
        self._model.compile(optimizer=make_optimizer(rate, training, multipliers))
        self._model.optimizer.build(self._model.trainable_variables)
        # Of its own, and not put into the step's graph four times, once for each part: to trace and
        # to optimize them took nine seconds, as long as fourteen steps.
        self._encode = tf.function(
            lambda tokens: encoder(tokens, training=True),
            autograph=False,
            reduce_retracing=True,
            experimental_attributes={"_noinline": True},
        )
        self._step = tf.function(
            self._one_step,
            input_signature=[
                tf.TensorSpec([self.batch_size], tf.string),
                tf.TensorSpec([self.batch_size], tf.int32),
            ],
            autograph=False,
        )

    def load(self) -> PairProgress:
        """Put the checkpoint's weights into the encoder, if there is one, and say how far it is.

        Raises:
            RunError: the checkpoint is damaged.
        """
        if not self.file.exists():
            return PairProgress(0, self.total)
        reached = PairProgress(**checkpoint.load(self.file, self._model, optimizer=False))
        if not reached.finished:
            checkpoint.load(self.file, self._model)
        return reached

    def take_steps(self, reached: PairProgress) -> None:
        """Take the steps that are left, keeping a checkpoint; `reached` goes along.

        Ctrl-C ends the training and keeps the steps before it.

        Raises:
            TrainingError: the loss is no number any more.
            KeyboardInterrupt: Ctrl-C before the first step was whole.
        """
        before, start = reached.seconds, time.monotonic()
        saved = start
        texts = self.batch_size
        with progress("Pairs", "texts", (self.total - reached.steps) * texts) as advance:
            try:
                with held_interrupts() as check:
                    while not reached.finished:
                        check()
                        loss = float(self._step(*self._batch(reached.steps)))
                        self._check(reached.steps, loss)
                        reached.losses.append(loss)
                        reached.steps += 1
                        now = time.monotonic()
                        reached.seconds = before + now - start
                        advance(
                            texts, f"Pairs, step {reached.steps} of {self.total}, loss {loss:.3f}"
                        )
                        if now - saved > _SECONDS_BETWEEN_CHECKPOINTS and not reached.finished:
                            self._save(reached)
                            saved = now
            except KeyboardInterrupt:
                # it may have come between a step and its being counted
                reached.steps = self._model.optimizer.batches
                if not reached.steps:
                    raise
                print(
                    f"interrupted: {reached.steps} of {self.total} steps on pairs are kept; "
                    f"--resume continues. Fitting the head and measuring what there is; Ctrl-C "
                    f"again leaves at once.",
                    file=sys.stderr,
                )
        self._save(reached)

    def _batch(self, number: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a step's texts, string[B], and their labels, int32[B]."""
        rows, data = self._pairs.rows(number), self._config.data
        texts = augment(
            self._examples.texts(rows),
            rows,
            seed=self._config.seed,
            epoch=number,
            dropout=data.word_dropout,
            swap=data.word_swap,
        )
        return tf.constant(texts), tf.constant(self._examples.labels[rows], tf.int32)

    def _one_step(self, texts: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        weights = self._encoder.trainable_weights
        with tf.GradientTape() as tape:
            vectors = self._vectors(texts)
            loss = supervised_contrastive(vectors, labels, self._temperature)
            if self._regression:
                loss += self._regression * cosine_regression(vectors, labels)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        # as of a pooler that the pooled output does not go through
        used = [(g, w) for g, w in zip(gradients, weights, strict=True) if g is not None]
        self._model.optimizer.apply([g for g, _ in used], [w for _, w in used])
        return loss

    def _vectors(self, texts: tf.Tensor) -> tf.Tensor:
        """Return float32[B, D], in the order of the texts."""
        encoder = self._encoder
        if encoder.encoder.preprocess is None:
            return encoder(texts, training=True)
        tokens = encoder.preprocess(texts)
        lengths = tf.reduce_sum(tokens["input_mask"], axis=1)
        order = tf.argsort(lengths)
        parts = []
        for places in np.array_split(np.arange(self.batch_size), _PARTS):
            rows = tf.gather(order, places)
            longest = tf.reduce_max(tf.gather(lengths, rows))
            part = {name: tf.gather(value, rows)[:, :longest] for name, value in tokens.items()}
            parts.append(self._encode(part))
        return tf.gather(tf.concat(parts, axis=0), tf.argsort(order))

    def _check(self, number: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss on pairs is no number any more in step {number + 1} of {self.total}. "
                f"A lower --training.encoder_learning_rate than {self._rate:g} usually helps. "
                f"Received: {loss}"
            )

    def _save(self, reached: PairProgress) -> None:
        optimizer = not reached.finished  # of no use after the last step
        checkpoint.save(self.file, self._model, vars(reached), optimizer=optimizer)
