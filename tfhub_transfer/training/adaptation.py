"""Labelled texts of one domain and unlabelled ones of another: a model that works on the other.

Batches hold as many rows of either domain. What is adapted are the head's hidden features, those
that its last layer sees: in the frozen-encoder case the head's hidden layers learn them, else the
encoder does too. The parts that look at the domains stand beside the classifier while it trains,
share its layers, and are thrown away.

Where words are tagged, each word is a row to them, padding left out, and not each sentence by the
mean of its words. The papers make alike the very vectors that the last layer decides on, and here
it decides word by word: sentences' means may agree while the words' vectors do not.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from typing import Any, cast

import keras
import numpy as np

from tfhub_transfer.config import EPOCHS, Config
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.tagged_examples import TaggedDataset, TaggedExamples
from tfhub_transfer.data.tagged_target import read_tagged_target
from tfhub_transfer.data.target_domain import TargetDomain, read_target
from tfhub_transfer.heads.crf import CRF
from tfhub_transfer.registry import STRATEGIES
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.domain_losses import Coral, DomainAdversarial, OnSource, packed
from tfhub_transfer.training.domain_measures import Measured, measured, measured_words
from tfhub_transfer.training.domain_order import DomainOrder
from tfhub_transfer.training.gradient_reversal import GradientReversal
from tfhub_transfer.training.objective import Objective
from tfhub_transfer.training.strategy import Outcome, Strategy

__all__ = ["Dann", "DeepCoral"]


class _Adaptation(Strategy):
    """Hands both domains to the student's strategy, with a loss between them.

    The last epoch is kept. The validation rows are of the source, and would choose an epoch that
    is good there: with `dann` an early one, from before the domains have come together.

    Attributes:
        tells_domains: whether the first of the further outputs is the logit of the target.
    """

    tells_domains = False

    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train the classifier as `adaptation.student` would, on both domains."""
        config, asked = _of_student(self.config), self.config.adaptation
        column, sources = data.train.column, len(data.train.column)
        rejected = self.run.path / "rejected_target.jsonl"
        if isinstance(data, TaggedDataset):
            target = read_tagged_target(config, data, column, rejected)
        else:
            target = read_target(config, data, column, rejected)
        train = target.texts.after(data.train)
        objective = self._objective(classifier, data, sources)
        order = objective.order(train, len(data.labels), balance=config.data.balance)
        steps = math.ceil(len(order) / config.training.batch_size) * config.training.max_epochs
        network = self.network(classifier.network, steps)
        adapted = Classifier(classifier.head, classifier.encoder, network)

        strategy = STRATEGIES.load(asked.student)(config, self.run, objective)
        outcome: Outcome = strategy.fit(adapted, dataclasses.replace(data, train=train))
        described = self._measured(adapted, outcome, data, target)
        return dataclasses.replace(
            outcome,
            notes=(*outcome.notes, *_notes(described, target)),
            details={**outcome.details, "adaptation": described},
        )

    @abc.abstractmethod
    def network(self, network: keras.Model, steps: int) -> keras.Model:
        """Return a head's layers with the outputs that the loss between the domains is taken of.

        Args:
            network: float32[B, D] to probabilities, float32[B, C]; of words float32[B, W, D] to
                float32[B, R, C], the words' logits in the last W rows.
            steps: of the whole training.

        Returns:
            The same to float32[B, C + K], of words to float32[B, R, C + K], the head's own first.
        """

    @abc.abstractmethod
    def loss(self, inner: keras.losses.Loss, classes: int) -> keras.losses.Loss:
        """Return the loss of both domains."""

    def describe(self, network: keras.Model) -> dict[str, Any]:
        """Return what else `metrics.json` says of a training that is over."""
        del network
        return {}

    def _objective(self, classifier: Classifier, data: Dataset, sources: int) -> Objective:
        """Return the loss; rows of the training column from `sources` on are the target's."""
        classes, column = len(data.labels), data.train.column

        def targets(examples: Examples, positions: np.ndarray) -> np.ndarray:
            truth = examples.targets(classes, positions)
            if examples.sequences:
                return truth  # in which the target's words are marked already
            of_target = (examples.rows[positions] >= sources) & (examples.column is column)
            return packed(truth, of_target)

        return Objective(
            self.loss(classifier.head.loss(), classes),
            tuple(OnSource(metric, classes) for metric in classifier.head.metrics()),
            targets,
            functools.partial(DomainOrder, sources=len(data.train)),
        )

    def _measured(
        self, adapted: Classifier, outcome: Outcome, data: Dataset, target: TargetDomain
    ) -> dict[str, Any]:
        """Return what came of it, on test rows of both domains; plain JSON types."""
        told: dict[str, Any] = {
            "target": target.name,
            "target_rows": len(target.texts.rows),
            "weight": self.config.adaptation.weight,
            **self.describe(adapted.network),
        }
        parts = {"source": data.test, "target": target.test}
        found = []
        for name, examples in parts.items():
            if examples is not None:
                came = _tested(adapted, outcome, examples, data)
                told |= {f"{name}_{key}": value for key, value in came.measures.items()}
                told[f"{name}_test_rows"] = len(examples)
                found.append(came.as_target if name == "target" else 1.0 - came.as_target)
        if len(found) == len(parts) and self.tells_domains:
            # of both alike, however many rows there are of each
            told["domain_accuracy"] = sum(found) / len(found)
        return told


class Dann(_Adaptation):
    """Domain-adversarial training: Ganin et al. 2016 (arXiv 1505.07818).

    A classifier with one hidden layer learns to tell the domains apart by the features, and through
    the gradient reversal layer the features learn that it cannot.
    """

    tells_domains = True

    def network(self, network: keras.Model, steps: int) -> keras.Model:
        """Return the head's outputs and after them the logit that a row is of the target."""
        asked = self.config.adaptation
        features = _features(network)
        reversal = GradientReversal(steps, asked.weight, name="reversal")
        hidden = keras.layers.Dense(asked.hidden, activation="relu", name="domain_hidden")
        logit = keras.layers.Dense(1, dtype="float32", name="domain")
        return _both(network, logit(hidden(reversal(features))))

    def loss(self, inner: keras.losses.Loss, classes: int) -> keras.losses.Loss:
        """Return the head's loss on the source and the domain classifier's on both."""
        return DomainAdversarial(inner, classes)

    def describe(self, network: keras.Model) -> dict[str, Any]:
        """Return lambda as it was at the end."""
        return {"lambda": float(network.get_layer("reversal").strength())}


class DeepCoral(_Adaptation):
    """Features whose covariances are alike: Sun and Saenko 2016 (arXiv 1607.01719)."""

    def network(self, network: keras.Model, steps: int) -> keras.Model:
        """Return the head's outputs and after them the features."""
        return _both(network, _features(network))

    def loss(self, inner: keras.losses.Loss, classes: int) -> keras.losses.Loss:
        """Return the head's loss on the source and the distance between the domains."""
        return Coral(inner, classes, self.config.adaptation.weight)


def _features(network: keras.Model) -> Any:
    """Return what a head's last layer sees but for dropout, float32[B, d] or float32[B, W, d]."""
    return network.get_layer("dropout").input


def _both(network: keras.Model, further: Any) -> keras.Model:
    """Return a head's layers with further outputs, float32[B, K] or float32[B, W, K]."""
    own = network.outputs[0]
    if any(isinstance(layer, CRF) for layer in network.layers):
        # its own scores stand above the words'
        rows = own.shape[-1] + 2
        further = keras.layers.ZeroPadding1D((rows, 0), name="below_scores")(further)
    outputs = keras.layers.Concatenate(name="both")([own, further])
    return keras.Model(network.inputs[0], outputs, name="head")


def _of_student(config: Config) -> Config:
    """Return the configuration with the student's number of epochs, all of which it takes."""
    epochs = config.training.epochs or EPOCHS[config.adaptation.student]
    training = dataclasses.replace(config.training, epochs=epochs, keep="last")
    return dataclasses.replace(config, training=training)


def _tested(
    adapted: Classifier, outcome: Outcome, examples: Examples, data: Dataset
) -> Measured:
    if isinstance(data, TaggedDataset):
        sentences = cast(TaggedExamples, examples)
        return measured_words(adapted, outcome.encode, sentences, data)
    return measured(adapted, outcome.encode, examples, data)


def _notes(told: dict[str, Any], target: TargetDomain) -> list[str]:
    """Return what a person should read."""
    notes = [f"The model was adapted to {target.name}, whose labels it did not see.", *target.notes]
    by_word = "source_f1" in told
    key, measure = ("f1", "Entity F1") if by_word else ("accuracy", "Accuracy")
    if f"target_{key}" in told:
        notes.append(
            f"{measure} on {told['target_test_rows']:,} test rows of {target.name}: "
            f"{told[f'target_{key}']:.3f}; on the {told['source_test_rows']:,} of the source: "
            f"{told[f'source_{key}']:.3f}."
        )
    if "domain_accuracy" in told:
        rows = "words" if by_word else "rows"
        notes.append(
            f"The domain classifier, which was thrown away, tells the domains of those {rows} "
            f"apart with accuracy {told['domain_accuracy']:.3f}; 0.5 is chance."
        )
    return notes
