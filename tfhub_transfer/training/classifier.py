"""An encoder and a head as one model: strings in, the head's outputs out."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.config import Config
from tfhub_transfer.encoders.bulk_words import bulk_encode
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.encoders.word_vectors import EmbeddedWords
from tfhub_transfer.errors import EncoderError, RunError, TransferError
from tfhub_transfer.heads.head import Head
from tfhub_transfer.registry import TASKS
from tfhub_transfer.runs import Run, atomic_path, config_from_dict

_BATCH = 2048


class Classifier:
    """A model in its three views, which share their weights.

    Attributes:
        head: what the outputs mean.
        encoder: string[B] to float32[B, D], or to a vector of each word.
        network: vectors to probabilities, of tags and spans to logits; what is trained where the
            encoder is frozen.
        model: string[B] to the same; what is fine-tuned, saved and exported.
    """

    def __init__(self, head: Head, encoder: HubLayer, network: keras.Model):
        self.head = head
        self.encoder = encoder
        self.network = network

    @functools.cached_property
    def model(self) -> keras.Model:
        """Joined when it is first asked for: a frozen encoder's vectors take no joined model."""
        return _joined(self.head, self.encoder, self.network)

    @classmethod
    def build(
        cls,
        config: Config,
        labels: Sequence[str],
        *,
        encoder: HubLayer | None = None,
        **facts: Any,
    ) -> Classifier:
        """Return an untrained classifier as `config` asks for it.

        Args:
            config: of the run.
            labels: names of classes or tags.
            encoder: one that was loaded as `config.encoder` asks for it; loaded anew by default.
            **facts: what the data says beside its labels, as the head's `facts` name it.
        """
        head: Head = TASKS.load(config.task).of(config, labels, **facts)
        encoder = encoder or HubLayer.of(
            config.encoder,
            output=head.reads,
            words=head.splitting,
            word_shapes=head.word_shapes,
            name="encoder",
        )
        if "question" in head.inputs and isinstance(encoder.by_word, EmbeddedWords):
            raise EncoderError(
                f"A question and its context are read together, which takes a transformer: name "
                f"one with --encoder.name, such as minilm-l6 (`python -m tfhub_transfer.encoders "
                f"list`). Received: {encoder.encoder.name}, a text embedding"
            )
        return cls(head, encoder, head.network(encoder.width))

    @classmethod
    def load(cls, run: Run) -> Classifier:
        """Return the classifier that a run has trained.

        Raises:
            RunError: the run was not finished, or its model is damaged.
            EncoderError: its encoder cannot be found.
        """
        config = config_from_dict(run.load_config())
        described = run.load_metrics()
        kind: type[Head] = TASKS.load(config.task)
        if missing := {"labels", *kind.facts} - described.keys():
            raise RunError(
                f"The run's metrics do not say what its model answers: "
                f"{', '.join(sorted(missing))} should be there. Received: {run.metrics_file}"
            )
        try:
            model = keras.models.load_model(run.model_file, compile=False)
        except (TypeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise _explained(error, run.model_file) from error
        facts = {name: described[name] for name in kind.facts}
        head = kind.of(config, described["labels"], **facts)
        return cls(head, model.get_layer("encoder"), model.get_layer("head"))

    def save(self, target: Path) -> None:
        """Write the strings-in model as a `.keras` file, without the optimizer's state."""
        # a clone by clone_model would be compiled as this one is
        network = type(self.network).from_config(self.network.get_config())
        network.set_weights(self.network.get_weights())
        with atomic_path(target) as temporary:
            _joined(self.head, self.encoder, network).save(temporary)

    def whole(self, texts: Sequence[Any]) -> np.ndarray:
        """Return `model`'s outputs, by one call, for texts or pairs of question and context."""
        outputs: np.ndarray = self.model(as_inputs(texts), training=False).numpy()
        return outputs

    def from_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Return probabilities, float32[N, C], for encoded texts, float32[N, D]."""
        parts = [
            self._apply(vectors[start : start + _BATCH]).numpy()
            for start in range(0, len(vectors), _BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self.head.labels)), np.float32)

    @functools.cached_property
    def _apply(self) -> Callable[[np.ndarray], tf.Tensor]:
        """The network; a concrete function, since TensorFlow warns of many that are traced once."""
        rows = [None] if self.head.reads == "pooled" else [None, None]
        spec = tf.TensorSpec([*rows, self.encoder.width], tf.float32)
        function = tf.function(lambda vectors: self.network(vectors, training=False))
        return function.get_concrete_function(spec)

    @functools.cached_property
    def _encode(self) -> Callable[[Sequence[str]], np.ndarray]:
        """Kept, for each one is traced anew; it reads the encoder's present weights."""
        return bulk_encode(self.encoder)

    def predict(
        self,
        batches: Iterable[Sequence[str]],
        encode: Callable[[Sequence[str]], np.ndarray] | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield probabilities, float32[n, C], for each batch of texts.

        Args:
            batches: of texts; large ones are encoded faster, being sorted by length.
            encode: texts to vectors; the encoder with its present weights when not given.
        """
        encode = encode or self._encode
        for texts in batches:
            yield self.from_vectors(encode(texts))


def _explained(error: BaseException, file: Path) -> TransferError:
    """Return what this package said below Keras' wrapping, or else that the file is no good."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TransferError):
        cause = cause.__cause__ or cause.__context__
    return cause or RunError(
        f"The run's model cannot be read ({str(error).splitlines()[0]}). Received: {file}"
    )


def _joined(head: Head, encoder: HubLayer, network: keras.Model) -> keras.Model:
    inputs = {name: keras.Input((), dtype="string", name=name) for name in head.inputs}
    texts = inputs["text"] if head.inputs == ("text",) else inputs
    return keras.Model(texts, network(encoder(texts)), name="classifier")
