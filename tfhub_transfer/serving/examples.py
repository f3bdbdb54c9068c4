"""Requests of tf.Examples, which Classify, Regress and MultiInference share.

As servables/tensorflow/util.cc, classifier.cc and regressor.cc of TF Serving.
"""

from __future__ import annotations

import numpy as np
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, model_pb2

from tfhub_transfer.artifact.predictor import CLASSIFY, DEFAULT_SIGNATURE, Signature
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.status import Code, ServingError

REGRESS = "tensorflow/serving/regress"

_RESULT = b"\x0a"  # of ClassificationResponse: field 1, of a known length


def check_method(signature: Signature, method: str, kind: str) -> None:
    """Refuse a signature that is for another API.

    Args:
        signature: that the request asks for.
        method: the name of the API's method.
        kind: the same in one word.

    Raises:
        ServingError: it is.
    """
    if signature.method != method:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method}",
        )


def check_tasks(
    request: inference_pb2.MultiInferenceRequest, model: str, signatures: dict[str, Signature]
) -> list[str]:
    """Return the signatures that the tasks of a MultiInference ask for, as multi_inference.cc does.

    Args:
        request: has a task at least.
        model: the name of the first one's.
        signatures: of that.

    Raises:
        ServingError: a task does not fit the others or its signature.
    """
    names: list[str] = []
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        code, refusal = Code.INVALID_ARGUMENT, ""
        if task.model_spec.name != model:
            refusal = "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        elif name in names:
            refusal = f"Duplicate evaluation of signature: {name}"
        elif name not in signatures:
            refusal = f"Requested signature not found in model graph: {name}"
        elif task.method_name not in (CLASSIFY, REGRESS):
            code = Code.UNIMPLEMENTED
            refusal = f"Unsupported signature method_name: {task.method_name}"
        if refusal:
            raise ServingError(code, refusal)
        kind = "classification" if task.method_name == CLASSIFY else "regression"
        check_method(signatures[name], task.method_name, kind)
        names.append(name)
    return names


def serialized(given: input_pb2.Input, limits: Limits) -> list[bytes]:
    """Return each tf.Example serialized; a shared context goes before it, which merges them.

    Raises:
        ServingError: they are too many or too long, told before the context is multiplied.
    """
    context = b""
    examples = given.example_list.examples
    if given.WhichOneof("kind") == "example_list_with_context":
        shared = given.example_list_with_context
        context, examples = shared.context.SerializeToString(), shared.examples
    limits.check_count(len(examples))
    limits.check_sizes([len(context) + one.ByteSize() for one in examples], of_examples=True)
    return [context + one.SerializeToString() for one in examples]


def fill(result: classification_pb2.ClassificationResult, outputs: dict[str, np.ndarray]) -> None:
    """Add each row of `classes` string[B, C] and `scores` float32[B, C] as a message."""
    for labels, scores in zip(outputs["classes"], outputs["scores"], strict=True):
        classes = result.classifications.add().classes
        for label, score in zip(labels.tolist(), scores.tolist(), strict=True):
            classes.add(label=label, score=score)


def response(spec: model_pb2.ModelSpec, outputs: dict[str, np.ndarray]) -> bytes:
    """Return a serialized ClassificationResponse of the same.

    Row after row, as the wire format has repeated fields: protobuf would hold all rows as messages,
    of many times their size, and let no other thread run while it writes them.
    """
    rows = []
    for row in range(len(outputs["scores"])):
        result = classification_pb2.ClassificationResult()
        fill(result, {name: outputs[name][row : row + 1] for name in ("classes", "scores")})
        rows.append(result.SerializeToString())
    about = classification_pb2.ClassificationResponse(model_spec=spec).SerializeToString()
    return b"".join([_RESULT, _varint(sum(map(len, rows))), *rows, about])


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])
