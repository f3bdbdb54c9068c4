"""The tensors of Predict: a request's strings, and an answer's arrays.

The checks and their texts are those of TF Serving's servables/tensorflow/predict_util.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from tfhub_transfer.artifact.predictor import Instance, Signature
from tfhub_transfer.serving.instances import from_columns
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.status import Code, ServingError

_TYPE_NAMES = {
    number: name.removeprefix("DT_").lower() for name, number in types_pb2.DataType.items()
}


def request_values(
    request: predict_pb2.PredictRequest,
    signature: Signature,
    limits: Limits,
) -> Sequence[Instance]:
    """Return the strings of a Predict request, an instance for each place in its inputs.

    Args:
        request: of a client.
        signature: that it asks for.
        limits: of the request; they hold before a string is repeated.

    Raises:
        ServingError: an input is not what the signature takes.
    """
    wanted, sent = sorted(signature.inputs), sorted(request.inputs)
    extra = [name for name in sent if name not in wanted]
    if len(sent) != len(wanted):
        missing = [name for name in wanted if name not in sent]
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). Sent extra: {_set(extra)}. "
            f"Missing but required: {_set(missing)}.",
        )
    if extra:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"input tensor alias not found in signature: {extra[0]}. Inputs expected to be in "
            f"the set {_set(wanted)}.",
        )
    columns = [_strings(request.inputs[alias], alias, limits) for alias in signature.inputs]
    return from_columns(signature.inputs, columns)


def _set(names: Sequence[str]) -> str:
    return f"{{{','.join(names)}}}"


def _strings(tensor: tensor_pb2.TensorProto, alias: str, limits: Limits) -> Sequence[bytes]:
    if tensor.dtype != types_pb2.DT_STRING:
        received = _TYPE_NAMES.get(tensor.dtype, str(tensor.dtype))
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expects arg[0] to be string but {received} is provided",
            quotes_no_text=True,
        )
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if len(shape) != 1 or tensor.tensor_shape.unknown_rank:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Input {alias} takes a tensor of shape [n], one string for each instance. "
            f"Received: shape {'unknown' if tensor.tensor_shape.unknown_rank else shape}",
            quotes_no_text=True,
        )
    # Before the strings are looked at: the shape may claim more than was sent.
    limits.check_count(max(0, shape[0]))
    if len(tensor.string_val) == shape[0]:
        return tensor.string_val
    return _filled_up(tensor, alias, shape[0], limits)


def wanted_outputs(wanted: Sequence[str], signature: Signature) -> Sequence[str]:
    """Return the outputs that a request's `output_filter` leaves: all, where it is empty.

    Raises:
        ServingError: it names what there is not, or names something twice.
    """
    for index, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {{{','.join(signature.outputs)}}}.",
            )
        if alias in wanted[:index]:
            raise ServingError(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}")
    return wanted or signature.outputs


def fill(tensor: tensor_pb2.TensorProto, rows: np.ndarray) -> None:
    """Write an array the way TF Serving does: each value in a field, not as raw memory."""
    if rows.dtype == np.float32:
        tensor.dtype = types_pb2.DT_FLOAT
        tensor.float_val.extend(rows.ravel().tolist())
    elif rows.dtype == object:
        tensor.dtype = types_pb2.DT_STRING
        tensor.string_val.extend(rows.ravel().tolist())
    else:
        tensor.CopyFrom(tf.make_tensor_proto(rows))
        return
    for size in rows.shape:
        tensor.tensor_shape.dim.add(size=size)


def _filled_up(
    tensor: tensor_pb2.TensorProto, alias: str, count: int, limits: Limits
) -> list[bytes]:
    """Return the strings of a tensor in one of its rarer forms, as TensorFlow reads them.

    Its last string stands for all that are missing, or `tensor_content` holds them.
    """
    strings = list(tensor.string_val)
    if tensor.tensor_content and len(strings) <= count:
        tensor.ClearField("string_val")  # TensorFlow ignores them then; here it cannot repeat any
        try:
            return tf.io.parse_tensor(tensor.SerializeToString(), tf.string).numpy().tolist()
        except tf.errors.OpError:
            pass
    elif len(strings) <= count:
        # Not by TensorFlow, which copies the string as often.
        last = strings[-1] if strings else b""
        sizes = [len(one) for one in strings] + [len(last)] * (count - len(strings))
        limits.check_sizes(sizes)
        return strings + [last] * (count - len(strings))
    raise ServingError(Code.INVALID_ARGUMENT, f"tensor parsing error: {alias}", quotes_no_text=True)
