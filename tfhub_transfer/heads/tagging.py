"""A tag for each word of a text, and a label for the whole of it where the data has one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.config import HIDDEN, Config, HeadConfig, TaggingConfig
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.heads.crf import CRF, marginals, viterbi
from tfhub_transfer.heads.dense import hidden_layers, penalty_of
from tfhub_transfer.heads.head import Head
from tfhub_transfer.heads.lstm import WordLSTM
from tfhub_transfer.heads.tag_grammar import make_repair, parts_of
from tfhub_transfer.heads.tag_losses import IntentAccuracy, TaggingLoss, WordAccuracy
from tfhub_transfer.heads.tag_outputs import Join, Layout, Split

__all__ = ["Decided", "TaggingHead"]


class Decided(NamedTuple):
    """What a tagging network's outputs mean.

    Attributes:
        tags: int32[B, W], which keep to the scheme; -1 behind the last word.
        scores: float32[B, W], how probable each tag is, by itself; 0 behind the last word.
        intents: float32[B, I], probabilities; None where texts have no label of their own.
    """

    tags: tf.Tensor
    scores: tf.Tensor
    intents: tf.Tensor | None


class TaggingHead(Head):
    """Dense layers, a bidirectional LSTM and a CRF, each if asked for, to a tag for each word.

    LSTM and CRF together are the tagger of Huang, Xu and Yu 2015 (arXiv 1508.01991), section 2.4.
    A text's own label, its intent, comes from its own vector, by dense layers of its own.

    Args:
        config: sizes and regularisation.
        labels: T tags in the scheme of `tagging`, in the order of the outputs.
        tagging: what decides on a tag besides the word's own vector.
        intents: labels of whole texts, in the order of the outputs; none where texts have none.

    Raises:
        ConfigError: settings that tags cannot be trained with.
    """

    facts = ("intents",)

    def __init__(
        self,
        config: HeadConfig,
        labels: Sequence[str],
        *,
        tagging: TaggingConfig | None = None,
        intents: Sequence[str] = (),
    ):
        super().__init__(config, labels)
        self.tagging = tagging or TaggingConfig()
        self.intents = tuple(intents)
        self.reads = "text_and_words" if self.intents else "words"
        self.word_shapes = self.tagging.word_shapes
        self.layout = Layout(len(self.labels), len(self.intents), self.tagging.crf)
        self._repair = make_repair(self.labels, self.tagging.scheme)
        if config.loss != "cross_entropy":
            raise ConfigError(
                f"With task tagging, head.loss must be cross_entropy. Received: {config.loss!r}"
            )
        if config.label_smoothing and self.tagging.crf and not self.intents:
            raise ConfigError(
                f"head.label_smoothing has no meaning with tagging.crf, whose loss is of whole "
                f"sequences: it must be 0. Received: {config.label_smoothing}"
            )

    @classmethod
    def of(cls, config: Config, labels: Sequence[str], **facts: Any) -> TaggingHead:
        """Return the head that a run's settings ask for; see `Head.of`."""
        return cls(config.head, labels, tagging=config.tagging, **facts)

    def network(self, width: int) -> keras.Model:
        """Return float32[B, W, width] -> logits and all else, as `layout` has it.

        With intents, vectors are float32[B, 1 + W, width], the text's own first. Behind the last
        word they are zeros.

        Raises:
            ConfigError: Keras knows no such activation.
        """
        vectors = keras.Input((None, width), name="vectors")
        text, words = Split(name="split")(vectors) if self.intents else (None, vectors)
        tags = self._tags(words)
        if self.tagging.crf:
            crf = CRF(self.labels, self.tagging.scheme, dtype="float32", name="crf")
            tags = crf(tags)
        if self.intents:
            intents = self._output(text, len(self.intents), "intent_")
            tags = Join(dtype="float32", name="join")([tags, intents])
        return keras.Model(vectors, tags, name="head")

    def _tags(self, words: Any) -> Any:
        hidden = words
        if self.config.bottleneck is not None:
            penalty = penalty_of(self.config)
            hidden = keras.layers.Dense(
                self.config.bottleneck, kernel_regularizer=penalty, name="bottleneck"
            )(hidden)
        if self.tagging.recurrent:
            hidden = keras.layers.Dropout(self.config.dropout, name="dropout_lstm")(hidden)
            lstm = WordLSTM(self.tagging.recurrent, dtype="float32", name="lstm")
            hidden = lstm([hidden, words])
        return self._output(hidden, len(self.labels), "")

    def _output(self, vectors: Any, classes: int, prefix: str) -> Any:
        """Return logits, through dense layers if there are any."""
        for layer in hidden_layers(self.config, self.config.hidden or HIDDEN["tagging"], prefix):
            vectors = layer(vectors)
        penalty = penalty_of(self.config)
        # logits stay float32 under mixed precision
        return keras.layers.Dense(
            classes, kernel_regularizer=penalty, dtype="float32", name=f"{prefix}logits"
        )(vectors)

    def loss(self) -> keras.losses.Loss:
        """Return the tags' negative log-likelihood per word, and the intents' beside it."""
        return TaggingLoss(self.layout, self.config.label_smoothing, self.tagging.intent_weight)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return the accuracy of the words' tags, and that of the intents."""
        of_words = WordAccuracy(self.layout)
        return [of_words, IntentAccuracy(self.layout)] if self.intents else [of_words]

    def decide(self, outputs: tf.Tensor, lengths: tf.Tensor) -> Decided:
        """Return tags and scores for the network's outputs; TensorFlow's ops alone.

        With a CRF the tags are its best path, and scores its marginals. Without one each word has
        its likeliest tag, put right where a sequence breaks the scheme (see `make_repair`), and the
        score is that of the tag before that.

        Args:
            outputs: of the network.
            lengths: int32[B], the words of each text.
        """
        parts = self.layout.parts(outputs)
        inside = tf.sequence_mask(lengths, tf.shape(parts.logits)[1])
        if parts.chain is None:
            probabilities = tf.nn.softmax(parts.logits)
            likeliest = tf.argmax(parts.logits, axis=2, output_type=tf.int32)
            tags = self._repair(likeliest, lengths)
        else:
            probabilities = marginals(parts.logits, lengths, parts.chain)
            tags, _ = viterbi(parts.logits, lengths, parts.chain)
            likeliest = tf.maximum(tags, 0)
        scores = tf.where(inside, tf.gather(probabilities, likeliest, batch_dims=2), 0.0)
        intents = None if parts.intents is None else tf.nn.softmax(parts.intents)
        return Decided(tags, scores, intents)

    def served(
        self, network: keras.Model
    ) -> Callable[[Sequence[tf.Variable], tf.Tensor, tf.Tensor], Decided]:
        """Return a function for an exported graph, which holds the weights as it likes.

        Args:
            network: of this head, trained.

        Returns:
            (the network's trainable weights, in its order; vectors as the network takes them;
            lengths int32[B]) -> what `decide` says.
        """
        state = [variable.numpy() for variable in network.non_trainable_variables]

        def answer(
            weights: Sequence[tf.Variable], vectors: tf.Tensor, lengths: tf.Tensor
        ) -> Decided:
            values = [tf.convert_to_tensor(weight) for weight in weights]
            outputs, _ = network.stateless_call(values, state, vectors, training=False)
            return self.decide(outputs, lengths)

        return answer

    def decode(self, outputs: np.ndarray, lengths: Sequence[int]) -> list[dict[str, object]]:
        """Return what the outputs say of each text.

        Args:
            outputs: of the network.
            lengths: the words of each text.

        Returns:
            `tags` and `scores`, one for each word; `entities`, each with `type`, the places of
            its `first` and `last` word, counted from 0, and the mean `score` of its words' tags;
            and with intents `intent`, `intent_score` and every intent's probability in `intents`.
        """
        if not len(outputs):
            return []
        decided = self._decided(tf.constant(outputs), tf.constant(lengths, tf.int32))
        tags, scores = decided.tags.numpy(), decided.scores.numpy()
        decoded: list[dict[str, object]] = []
        for row, length in enumerate(lengths):
            names = [self.labels[tag] for tag in tags[row, :length]]
            numbers = [round(float(score), 6) for score in scores[row, :length]]
            decoded.append(
                {"tags": names, "scores": numbers, "entities": self._entities(names, numbers)}
            )
        if decided.intents is not None:
            for one, row in zip(decoded, decided.intents.numpy(), strict=True):
                one["intent"] = self.intents[row.argmax()]
                one["intent_score"] = round(float(row.max()), 6)
                pairs = zip(self.intents, row, strict=True)
                one["intents"] = {name: round(float(p), 6) for name, p in pairs}
        return decoded

    @functools.cached_property
    def _decided(self) -> Callable[[tf.Tensor, tf.Tensor], Decided]:
        """`decide` as a graph, for its loops."""
        columns = len(self.labels) + len(self.intents)
        outputs = tf.TensorSpec([None, None, columns], tf.float32)
        return tf.function(self.decide, [outputs, tf.TensorSpec([None], tf.int32)])

    def _entities(self, tags: Sequence[str], scores: Sequence[float]) -> list[dict[str, object]]:
        """Return the entities of tags that keep to the scheme."""
        spans: list[tuple[str, list[int]]] = []
        before = ("O", "")
        for place, tag in enumerate(tags):
            prefix, kind = parts_of(tag, self.tagging.scheme)
            if prefix in "IE" and before[0] in "BI" and before[1] == kind:
                spans[-1][1].append(place)
            elif prefix != "O":
                spans.append((kind, [place]))
            before = prefix, kind
        return [
            {
                "type": kind,
                "first": places[0],
                "last": places[-1],
                "score": round(float(np.mean([scores[place] for place in places])), 6),
            }
            for kind, places in spans
        ]
