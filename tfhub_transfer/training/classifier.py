"""An encoder and a head as one model: strings in, probabilities out."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.config import Config
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import RunError, TransferError
from tfhub_transfer.heads.head import Head
from tfhub_transfer.registry import TASKS
from tfhub_transfer.runs import Run, atomic_path, config_from_dict

_BATCH = 2048


class Classifier:
    """A model in its three views, which share their weights.

    Attributes:
        head: what the outputs mean.
        encoder: string[B] to float32[B, D].
        network: float32[B, D] to probabilities; what is trained where the encoder is frozen.
        model: string[B] to probabilities; what is fine-tuned, saved and exported.
    """

    def __init__(self, head: Head, encoder: HubLayer, network: keras.Model):
        self.head = head
        self.encoder = encoder
        self.network = network

    @functools.cached_property
    def model(self) -> keras.Model:
        """Joined when it is first asked for: a frozen encoder's vectors take no joined model."""
        return _joined(self.encoder, self.network)

    @classmethod
    def build(
        cls,
        config: Config,
        labels: Sequence[str],
        *,
        multi_label: bool,
        encoder: HubLayer | None = None,
    ) -> Classifier:
        """Return an untrained classifier as `config` asks for it.

        Args:
            config: of the run.
            labels: class names.
            multi_label: whether a text may have several of them.
            encoder: one that was loaded as `config.encoder` asks for it; loaded anew by default.
        """
        encoder = encoder or HubLayer.of(config.encoder, name="encoder")
        head: Head = TASKS.load(config.task)(config.head, labels, multi_label=multi_label)
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
        if missing := {"labels", "multi_label"} - described.keys():
            raise RunError(
                f"The run's metrics do not say what its model answers: "
                f"{', '.join(sorted(missing))} should be there. Received: {run.metrics_file}"
            )
        try:
            model = keras.models.load_model(run.model_file, compile=False)
        except (TypeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise _explained(error, run.model_file) from error
        head: Head = TASKS.load(config.task)(
            config.head, described["labels"], multi_label=described["multi_label"]
        )
        return cls(head, model.get_layer("encoder"), model.get_layer("head"))

    def save(self, target: Path) -> None:
        """Write the strings-in model as a `.keras` file, without the optimizer's state."""
        # a clone by clone_model would be compiled as this one is
        network = type(self.network).from_config(self.network.get_config())
        network.set_weights(self.network.get_weights())
        with atomic_path(target) as temporary:
            _joined(self.encoder, network).save(temporary)

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
        spec = tf.TensorSpec([None, self.encoder.width], tf.float32)
        function = tf.function(lambda vectors: self.network(vectors, training=False))
        return function.get_concrete_function(spec)

    @functools.cached_property
    def _encode(self) -> BulkEncoder:
        """Kept, for each one is traced anew; it reads the encoder's present weights."""
        return BulkEncoder(self.encoder)

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


def _joined(encoder: HubLayer, network: keras.Model) -> keras.Model:
    text = keras.Input((), dtype="string", name="text")
    return keras.Model(text, network(encoder(text)), name="classifier")
