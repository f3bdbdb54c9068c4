"""Requests that a server replays before it offers a version, so that the first client is quick.

TensorFlow Serving reads them as TFRecords of PredictionLog from `assets.extra`, one after the other
(servables/tensorflow/saved_model_warmup_util.cc): https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from tfhub_transfer.artifact.predictor import (
    DEFAULT_SIGNATURE,
    OF_EXAMPLES,
    OF_QUESTIONS,
    OF_TEXTS,
    WARM_UP,
    Instance,
    Text,
    as_instance,
)
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.runs import atomic_path

SIZES = (1, 4, 16)
MOST_RECORDS = 1000
"""With more, TensorFlow Serving refuses to load the version."""

# Short, median and long, but not the longest, which may be one of a kind.
_LENGTHS = (0.05, 0.5, 0.95)


def write_warm_up(
    version: Path,
    texts: Sequence[Text],
    *,
    name: str,
    second: str = OF_EXAMPLES,
    sizes: Sequence[int] = SIZES,
) -> int:
    """Write `assets.extra/tf_serving_warmup_requests`, each size for both signatures.

    The same texts give the same file, in whatever order they are. They can be read in it: whoever
    gets the version gets them.

    Args:
        version: the directory of the artifact.
        texts: real ones, or questions with their contexts; the requests take a few short, median
            and long ones.
        name: of the model.
        second: the signature that is asked beside `serving_default`.
        sizes: texts in a request. A server that batches refuses to load a version whose warm-up
            has a request larger than its `max_batch_size`.

    Returns:
        The number of requests.

    Raises:
        ArtifactError: there are no texts, or more requests than TensorFlow Serving takes.
    """
    if not texts:
        raise ArtifactError("Warm-up requests are made of real texts, one at least. Received: none")
    requests = [log for size in sizes for log in _requests(texts, size, name, second)]
    if len(requests) > MOST_RECORDS:
        raise ArtifactError(
            f"TensorFlow Serving takes {MOST_RECORDS:,} warm-up requests at most. "
            f"Received: {len(requests):,}"
        )
    with atomic_path(version / WARM_UP) as temporary, tf.io.TFRecordWriter(str(temporary)) as file:
        for request in requests:
            file.write(request.SerializeToString(deterministic=True))
    return len(requests)


def _requests(
    texts: Sequence[Text], size: int, name: str, second: str
) -> Iterator[prediction_log_pb2.PredictionLog]:
    for length in _LENGTHS:
        yield _predict(_of_length(texts, size, length), name, DEFAULT_SIGNATURE)
    median = _of_length(texts, size, 0.5)
    yield _classify(median, name) if second == OF_EXAMPLES else _predict(median, name, second)


def _of_length(texts: Sequence[Text], size: int, length: float) -> list[Instance]:
    """Return `size` texts around a quantile of length, shorter ones first; repeated where few."""
    # a text may hold half a surrogate pair, which UTF-8 has no form for
    found = {as_instance(text, "replace") for text in texts}
    ordered = sorted(found, key=lambda instance: (_bytes(instance), instance))
    middle = round(length * (len(ordered) - 1))
    start = int(np.clip(middle - size // 2, 0, max(0, len(ordered) - size)))
    chosen = ordered[start : start + size]
    return [chosen[index % len(chosen)] for index in range(size)]


def _bytes(instance: Instance) -> int:
    return len(instance) if isinstance(instance, bytes) else sum(map(len, instance))


def _predict(texts: list[Instance], name: str, signature: str) -> prediction_log_pb2.PredictionLog:
    columns = {OF_TEXTS[0]: texts}
    if isinstance(texts[0], tuple):
        columns = dict(zip(OF_QUESTIONS, map(list, zip(*texts, strict=True)), strict=True))
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=name, signature_name=signature),
        inputs={
            alias: tf.make_tensor_proto(column, tf.string, [len(texts)])
            for alias, column in columns.items()
        },
    )
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log)


def _classify(texts: list[Instance], name: str) -> prediction_log_pb2.PredictionLog:
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))}
            )
        )
        for text in texts
    ]
    request = classification_pb2.ClassificationRequest(
        model_spec=model_pb2.ModelSpec(name=name, signature_name=OF_EXAMPLES),
        input=input_pb2.Input(example_list=input_pb2.ExampleList(examples=examples)),
    )
    log = prediction_log_pb2.ClassifyLog(request=request)
    return prediction_log_pb2.PredictionLog(classify_log=log)
