"""Many texts to vectors, as fast as the machine allows.

Two things make the difference to one call of the model per batch. Texts are sorted by their number
of tokens and cut into batches of equally many tokens, so that padding is rare and each matrix
product has the size at which the processor works best. And two batches are under way at once,
so that one's memory-bound steps (norms, softmax) fill the gaps of the other's products.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.first_layers import TOKENS
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import EncoderError

Batch = TypeVar("Batch")

# Tokens, padding included, of one transformer batch. From 2,000 to 4,000 throughput is flat;
# smaller batches leave the matrix products waiting, larger ones leave the processor's cache.
_BATCH_TOKENS = 3072
# Texts sorted together. More would pad less, but hold more token ids in memory.
_WINDOW = 4096
_EMBEDDING_BATCH = 1024
_WORKERS = 2
# Batches that wait for a worker: enough to keep both busy, few enough to stop soon after Ctrl-C.
_WAITING = 8


class BulkEncoder:
    """Encodes texts with the weights a layer has now.

    Args:
        layer: the encoder, with a pooled output.
        precision: of the matrix products; vectors are float32 in either case.

    Raises:
        EncoderError: bfloat16 was asked for and the SavedModel has no such function; or the layer
            gives sequences.
    """

    def __init__(self, layer: HubLayer, precision: Literal["float32", "bfloat16"] = "float32"):
        encoder = layer.encoder
        is_transformer = encoder.preprocess is not None
        self.width = layer.width
        if layer.output_kind != "pooled":
            raise EncoderError(
                f"This encoder gives one vector per text, so its layer has output='pooled'; for "
                f"words there is BulkWordEncoder. Received: {layer.output_kind!r}"
            )
        check_precision(layer, precision)

        def model(inputs: Any) -> tf.Tensor:
            return layer.vectors(inputs, precision=precision)

        # Traced once for every batch shape; the outputs that are not asked for are pruned. Concrete
        # functions, since TensorFlow warns of many encoders that are traced once each.
        spec = TOKENS if is_transformer else tf.TensorSpec([None], tf.string)
        self._model = tf.function(model, autograph=False).get_concrete_function(spec)
        self._preprocess = (
            tf.function(layer.preprocess).get_concrete_function(tf.TensorSpec([None], tf.string))
            if is_transformer
            else None
        )

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of `texts`, float32[N, D], in their order."""
        vectors = np.empty((len(texts), self.width), np.float32)

        def encode(batch: tuple[np.ndarray, Any]) -> None:
            rows, inputs = batch
            vectors[rows] = self._model(inputs).numpy()

        # Tokenising happens in the main thread, while the workers encode.
        two_at_once(encode, self._batches(texts))
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield the positions of each batch's texts, int64[b], and the model's input for them."""
        if self._preprocess is None:
            for start in range(0, len(texts), _EMBEDDING_BATCH):
                batch = texts[start : start + _EMBEDDING_BATCH]
                yield np.arange(start, start + len(batch)), tf.constant(batch)
            return
        for start in range(0, len(texts), _WINDOW):
            tokens = self._preprocess(tf.constant(texts[start : start + _WINDOW]))
            tokens = {name: value.numpy() for name, value in tokens.items()}
            for rows, trimmed in by_length(tokens):
                yield start + rows, trimmed


def check_precision(layer: HubLayer, precision: str) -> None:
    """Raise EncoderError unless the encoder has a function for products of this precision."""
    if precision == "bfloat16" and not hasattr(layer.model, "encode_bfloat16"):
        raise EncoderError(
            f"{layer.encoder.handle} has no bfloat16 products: only transformers that "
            f"`python -m tfhub_transfer.encoders build` made do. Use --encoder.precision "
            f"float32. Received: {precision!r}"
        )


def two_at_once(encode: Callable[[Batch], None], batches: Iterable[Batch]) -> None:
    """Call `encode` with each batch, in two threads, while this one prepares the next."""
    with ThreadPoolExecutor(_WORKERS) as workers:
        waiting: deque[Future[None]] = deque()
        for batch in batches:
            waiting.append(workers.submit(encode, batch))
            if len(waiting) > _WAITING:
                waiting.popleft().result()
        for future in waiting:
            future.result()


def by_length(
    tokens: dict[str, np.ndarray],
) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
    """Yield batches of rows of like length, the longest first, each cut to its longest row.

    Args:
        tokens: input_word_ids, input_mask and input_type_ids, int32[N, S] each.

    Yields:
        The rows, int64[b], and their tokens.
    """
    lengths = tokens["input_mask"].sum(axis=1)
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        rows = order[first : first + max(1, _BATCH_TOKENS // longest)]
        yield rows, {name: tf.constant(value[rows, :longest]) for name, value in tokens.items()}
        first += len(rows)
