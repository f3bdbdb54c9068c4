"""What clients send over REST: TensorFlow Serving's JSON, read.

Follows TF Serving's util/json_tensor.cc: the order of the checks, the texts of the errors and what
is let through. Where we are stricter, because a text model takes one string for each instance, or
one for each of its inputs:

- an instance, or a member of `inputs`, that is a list is refused here, not by the graph;
- JSON is read as RFC 8259 has it: no NaN, no lone surrogates, valid UTF-8, 1,024 levels at most.

Of a key that is there twice the last one counts (TF Serving takes the first).
"""

from __future__ import annotations

import base64
import gc
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message
from tensorflow_serving.apis import input_pb2

from tfhub_transfer.artifact.predictor import Instance
from tfhub_transfer.serving.instances import from_columns
from tfhub_transfer.serving.limits import VALUES_EACH, Limits
from tfhub_transfer.serving.status import Code, ServingError

__all__ = ["parse", "predict_values", "read", "read_examples", "signature_name"]

Taken = TypeVar("Taken")

# How much of a client's own value an error quotes.
_QUOTED = 200
_LARGEST_FLOAT = 3.4028234663852886e38
_TYPES = {str: "String", list: "Array", dict: "Object", type(None): "Null"}
_WHITE_SPACE = re.compile(r"[ \t\n\v\f\r]+")
_LARGE = 2**18  # bytes of a body
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read(body: bytes, take: Callable[[dict[str, Any]], Taken]) -> Taken:
    """Return what `take` makes of a request's body; nothing else of it is kept.

    While a large document is made, Python's collector would look through its young objects time and
    again, which takes several times as long as making them. So it pauses until they are gone.

    Raises:
        ServingError: the body is no JSON object, or `take` refuses it.
    """
    if len(body) < _LARGE:
        return take(parse(body))
    gc.disable()
    try:
        return take(parse(body))
    except ServingError as error:
        # The frames of its traceback, and of the error that it replaced, hold the document.
        error.__context__ = None
        refused = error.with_traceback(None)
    finally:
        gc.enable()
    raise refused


def parse(body: bytes) -> dict[str, Any]:
    """Read a request's body.

    Raises:
        ServingError: it is no JSON object.
    """
    if not body:
        raise _invalid("JSON Parse error: The document is empty", quotes_no_text=True)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        what = "Invalid value" if error.msg.startswith("unexpected character") else error.msg
        raise _invalid(
            f"JSON Parse error: {what} at offset: {error.pos}", quotes_no_text=True
        ) from None
    if type(document) is not dict:
        raise _invalid(f"JSON Value: {_quoted(document)} Is not object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    """Return which signature was asked for; "" for the default one."""
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise _invalid(
            f"JSON Value: {_quoted(document)} not formatted correctly. "
            f"'signature_name' key must be a string value."
        )
    return name


def predict_values(
    document: dict[str, Any], inputs: Sequence[str], check_count: Callable[[int], None]
) -> tuple[Sequence[Instance], bool]:
    """Return the values of a predict request.

    Args:
        document: the request.
        inputs: the names of the signature's inputs.
        check_count: is asked whether so many are accepted, before any of them is looked at.

    Returns:
        The values, and whether they came as rows (`instances`) rather than columns (`inputs`).

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    has_rows, has_columns = "instances" in document, "inputs" in document
    if has_rows and has_columns:
        raise _invalid(
            f"JSON Value: {_quoted(document)} Not formatted correctly expecting only one of "
            f"'inputs' or 'instances' keys to exist "
        )
    if has_rows:
        instances = document["instances"]
        # "Excepting" is TF Serving's own spelling.
        if type(instances) is not list:
            raise _invalid(
                f"JSON Value: {_quoted(document)} Excepting 'instances' to be an list/array"
            )
        if not instances:
            raise _invalid(f"JSON Value: {_quoted(document)} No values in 'instances' array")
        check_count(len(instances))
        return _rows(instances, inputs), True
    if has_columns:
        return _columns(document["inputs"], inputs, check_count), False
    raise _invalid("Missing 'inputs' or 'instances' key", quotes_no_text=True)


def read_examples(document: dict[str, Any], into: input_pb2.Input, limits: Limits) -> None:
    """Fill the input of a classify or regress request with its examples, and their context.

    Args:
        document: the request.
        into: an empty input.
        limits: of the request; they hold before any more of it is looked at.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    target = into.example_list
    left = limits.max_values
    if "context" in document:
        target = into.example_list_with_context
        left = _read_example(document["context"], target.context, left, limits)
    if "examples" not in document:
        raise _invalid(
            f"JSON Value: {_quoted(document)} When method is classify, key 'examples' is expected "
            f"and was not found"
        )
    examples = document["examples"]
    if type(examples) is not list:
        raise _invalid(
            f"JSON Value: {_quoted(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise _invalid(f"JSON Value: {_quoted(document)} 'examples' value is an empty array")
    limits.check_count(len(examples))
    for example in examples:
        left = _read_example(example, target.examples.add(), left, limits)


def _rows(instances: list[Any], inputs: Sequence[str]) -> list[Instance]:
    named = _is_named(instances[0])
    if not named and len(inputs) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
            quotes_no_text=True,
        )
    values: list[Instance] = []
    for position, item in enumerate(instances):
        if type(item) is str and not named:
            values.append(item.encode())
            continue
        if named and not _is_named(item):
            raise _invalid(f"Expecting object but got list at item {position} of input list")
        if not named and _is_named(item):
            raise _invalid(f"Expecting value/list but got object at item {position} of input list")
        key, found = "", {}
        try:
            if not named:
                values.append(_instance(item))
                continue
            for name, value in item.items():
                key = f" key: {name[:_QUOTED]}"
                if name not in inputs:
                    raise _invalid(f"JSON object: does not have named input: {name[:_QUOTED]}")
                found[name] = _instance(value)
        except ServingError as error:
            raise _invalid(
                f"Failed to process element: {position}{key} of 'instances' list. "
                f"Error: {error.code.name}: {error.message}",
                quotes_no_text=error.quotes_no_text and not key,
            ) from None
        if len(found) < len(inputs):
            raise _invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{_quoted(item)} keys must be equal to: {','.join(sorted(inputs))}"
            )
        one, *more = (found[name] for name in inputs)
        values.append((one, *more) if more else one)
    return values


def _instance(value: Any) -> bytes:
    if type(value) is list:
        raise _invalid(f"Expecting shape [] but got: {_shape(value)}", quotes_no_text=True)
    return _string(value)


def _columns(
    value: Any, inputs: Sequence[str], check_count: Callable[[int], None]
) -> Sequence[Instance]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map",
                quotes_no_text=True,
            )
        value = {inputs[0]: value}
    for alias in inputs:
        if alias not in value:
            raise _invalid(f"Missing named input: {alias} in 'inputs' object.")
    return from_columns(inputs, [_column(value[alias], alias, check_count) for alias in inputs])


def _column(value: Any, alias: str, check_count: Callable[[int], None]) -> list[bytes]:
    if type(value) is not list:
        _string(value)  # a wrong type is the likelier mistake, and is told first
    if type(value) is not list or (value and type(value[0]) is list):
        raise _invalid(
            f"Expecting shape [-1] for input {alias} but got: {_shape(value)}", quotes_no_text=True
        )
    check_count(len(value))
    return [_string(item) for item in value]


def _string(value: Any) -> bytes:
    if type(value) is str:
        return value.encode()
    if type(value) is dict:
        if not _is_base64(value):
            raise _invalid(f"JSON Value: {_quoted(value)} not formatted correctly for base64 data")
        return _decoded(value["b64"])
    if type(value) is list:
        raise _invalid("Encountered list at unexpected level: 1 expected < 1")
    raise _invalid(
        f"JSON Value: {_quoted(value)} Type: {_type(value)} is not of expected type: string"
    )


def _decoded(encoded: str) -> bytes:
    # As absl::Base64Unescape: white space of ASCII is skipped, dots are padding too, and of that
    # there may be none or as much as is expected.
    compact = _WHITE_SPACE.sub("", encoded)
    data = compact.rstrip("=.")
    given, expected = len(compact) - len(data), -len(data) % 4
    if expected < 3 and given in (0, expected):
        try:
            return base64.b64decode(data + "=" * expected, validate=True)
        except ValueError:
            pass
    raise _invalid("Unable to base64 decode", quotes_no_text=True)


def _read_example(value: Any, example: Any, left: int, limits: Limits) -> int:
    """Read an example, and return how many more features and values there may be."""
    if type(value) is not dict:
        raise _invalid(f"Example must be JSON object but got JSON {_type(value)}")
    left -= len(value)
    features = example.features.feature
    for name, content in value.items():
        items = content if type(content) is list else (content,)
        left -= len(items)
        if left < 0:
            raise _invalid(
                f"The examples of a request may have {limits.max_values} features and values "
                f"together ({VALUES_EACH} for each of --max_instances). Received: more",
                quotes_no_text=True,
            )
        feature = features[name]
        for item in items:
            _add_to_feature(item, name[:_QUOTED], feature)
    return left


def _add_to_feature(value: Any, name: str, feature: Message) -> None:
    kind: str
    read: bytes | int | float
    if type(value) is str:
        kind, read = "bytes_list", value.encode()
    elif type(value) is dict and _is_base64(value):
        kind, read = "bytes_list", _decoded(value["b64"])
    elif type(value) is bool:
        kind, read = "int64_list", int(value)
    elif type(value) is int:
        kind, read = "int64_list", value
        if value >= 2**63:
            raise _invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    elif type(value) is float:
        kind, read = "float_list", value
        if abs(value) > _LARGEST_FLOAT:
            raise _invalid(
                f"Cannot convert JSON value: {_quoted(value)} to float without loss of precision."
            )
    else:
        raise _invalid(f"Feature: {name} has element with unexpected JSON type: {_type(value)}")
    present = feature.WhichOneof("kind")
    if present not in {None, kind}:
        raise _invalid(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}"
        )
    getattr(feature, kind).value.append(read)


def _is_base64(value: dict[str, Any]) -> bool:
    return len(value) == 1 and type(value.get("b64")) is str


def _is_named(value: Any) -> bool:
    return type(value) is dict and not _is_base64(value)


def _shape(value: Any) -> str:
    sizes = []
    while type(value) is list:
        sizes.append(str(len(value)))
        if not value or len(sizes) == 8:
            break
        value = value[0]
    return f"[{','.join(sizes)}]"


def _type(value: Any) -> str:
    if type(value) is bool:
        return str(value)
    return _TYPES.get(type(value), "Number")


def _quoted(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # deeper than orjson writes, though not than it reads
        return f"a deeply nested {_type(value)}"
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."


def _invalid(message: str, *, quotes_no_text: bool = False) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message, quotes_no_text=quotes_no_text)
