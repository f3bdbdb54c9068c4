"""What clients get over REST: TensorFlow Serving's JSON, written.

Follows TF Serving's util/json_tensor.cc and model_servers/http_rest_api_util.cc, except for white
space: answers of predict and classify are compact, and written in pieces, for orjson lets no other
thread run meanwhile. A float32 is written in its own shortest form (0.2, not
0.20000000298023224), as there.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

__all__ = ["error", "metadata", "predictions", "results", "status"]


def predictions(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """Write the answer of predict.

    Args:
        outputs: each by its alias, [B, ...]; strings as bytes.
        rows: an object (or the value, of a single output) for each instance under `predictions`;
            otherwise a list for each output under `outputs`.
    """
    columns = {
        alias: _column(array, binary=alias.endswith("_bytes"))
        for alias, array in sorted(outputs.items())
    }
    if len(columns) == 1:
        (column,) = columns.values()
        answer = _list(column)
    elif rows:
        every = zip(*columns.values(), strict=True)
        answer = _list(dict(zip(columns, row, strict=True)) for row in every)
    else:
        named = (b"%s:%s" % (orjson.dumps(name), _list(each)) for name, each in columns.items())
        answer = b"{%s}" % b",".join(named)
    return b'{"%s":%s}' % (b"predictions" if rows else b"outputs", answer)


def results(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Write the answer of classify: for each example its classes, each a label and a score.

    Args:
        outputs: `classes` string[B, C] and `scores` float32[B, C].
    """
    known = _Beginnings()
    rows = []
    for labels, scores in zip(outputs["classes"].tolist(), outputs["scores"], strict=True):
        numbers = _dumped(np.ascontiguousarray(scores))[1:-1].split(b",")
        each = zip(labels, numbers, strict=False)  # of no number there is one part, an empty one
        pairs = [b"%s%s]" % (known[label], number) for label, number in each]
        rows.append(b"[%s]" % b",".join(pairs))
    return b'{"results":[%s]}' % b",".join(rows)


def status(response: get_model_status_pb2.GetModelStatusResponse) -> bytes:
    """Write the states of a model's versions."""
    text: str = json_format.MessageToJson(
        response, always_print_fields_with_no_presence=True, indent=1
    )
    return text.encode()


def metadata(response: get_model_metadata_pb2.GetModelMetadataResponse) -> bytes:
    """Write a version's signatures.

    The `Any` they are packed in is left out, as TF Serving does.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec, definitions = (
        json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for message in (response.model_spec, signatures)
    )
    return orjson.dumps(
        {"model_spec": spec, "metadata": {"signature_def": definitions}},
        option=orjson.OPT_INDENT_2,
    )


def error(message: str) -> bytes:
    """Write why a request was refused."""
    return orjson.dumps({"error": message})


class _Beginnings(dict[bytes, bytes]):
    """A label and a score, as written up to the score, by the label."""

    def __missing__(self, label: bytes) -> bytes:
        written = self[label] = b"[%s," % orjson.dumps(label.decode("utf-8", "replace"))
        return written


def _list(items: Iterable[Any]) -> bytes:
    return b"[%s]" % b",".join([_dumped(item) for item in items])


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _column(array: np.ndarray, *, binary: bool) -> list[Any]:
    """Return what is written as a list along the first axis."""
    if array.dtype == object:
        return [_strings(item, binary=binary) for item in array.tolist()]
    # orjson takes rows and scalars of NumPy as they are, but no strides.
    return list(np.ascontiguousarray(array))


def _strings(value: Any, *, binary: bool) -> Any:
    if isinstance(value, list):
        return [_strings(item, binary=binary) for item in value]
    if binary:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")
