from __future__ import annotations

import base64
import gc
import json
import weakref
from typing import Any

import pytest
from tensorflow_serving.apis import input_pb2

from tfhub_transfer.serving import json_requests
from tfhub_transfer.serving.json_requests import (
    parse,
    predict_values,
    read,
    read_examples,
    signature_name,
)
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.status import Code, ServingError

ENCODED = base64.b64encode(b"caf\xe9\x00").decode()


def accept(count: int) -> None:
    pass


def refuse(count: int) -> None:
    raise ServingError(Code.INVALID_ARGUMENT, f"counted {count}")


def values(document: dict[str, Any]) -> tuple[list[bytes], bool]:
    return predict_values(parse(json.dumps(document).encode()), ("text",), accept)


def examples(document: dict[str, Any]) -> input_pb2.Input:
    read = input_pb2.Input()
    read_examples(document, read, Limits(max_instances=8))
    return read


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"instances": ["a", "", "ü"]}, [b"a", b"", "ü".encode()]),
        ({"instances": [{"text": "a"}, {"text": "b"}]}, [b"a", b"b"]),
        ({"instances": [{"b64": ENCODED}, "a"]}, [b"caf\xe9\x00", b"a"]),
        ({"instances": [{"text": {"b64": ENCODED}}]}, [b"caf\xe9\x00"]),
        ({"instances": ["a\0b"]}, [b"a\0b"]),
    ],
)
def test_rows(document: dict[str, Any], expected: list[bytes]) -> None:
    assert values(document) == (expected, True)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["a", {"b64": ENCODED}], [b"a", b"caf\xe9\x00"]),
        ({"text": ["a", "b"]}, [b"a", b"b"]),
        ({"text": [{"b64": "YQ"}], "other": 1}, [b"a"]),
        ([], []),
    ],
)
def test_columns(inputs: Any, expected: list[bytes]) -> None:
    assert values({"inputs": inputs}) == (expected, False)


def test_base64_as_absl_reads_it() -> None:
    for encoded in ("YQ==", "YQ", " Y Q = =\n", "YQ..", "YQ=.", "\v\fYQ\t"):
        assert values({"instances": [{"b64": encoded}]}) == ([b"a"], True)
    for encoded in ("", " ", "\r\n"):
        assert values({"instances": [{"b64": encoded}]}) == ([b""], True)
    for wrong in ("====", "aA=", "YQ===", "YWE==", "YWJj=", "=", ".", "Y", "YQ=Q", "YQ\u00a0==",
                  "YQ\x1c==", "-_-_", "Y.Q="):  # fmt: skip
        with pytest.raises(ServingError, match="Unable to base64 decode$"):
            values({"instances": [{"b64": wrong}]})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", r"JSON Parse error: The document is empty$"),
        (b"instances = [1, 2]", r"JSON Parse error: Invalid value at offset: 0$"),
        (b'{"instances": [', r"JSON Parse error: unexpected end of data at offset: 15$"),
        (b'{"instances": [NaN]}', r"JSON Parse error: Invalid value at offset: 15$"),
        (rb'{"instances": ["\ud800"]}', r"JSON Parse error: .*surrogate"),
        (b'{"instances": ["\xff"]}', r"JSON Parse error: .*not valid UTF-8"),
        (b'{"instances": [1' + b"0" * 400 + b"]}", r"JSON Parse error: number is infinity"),
        (b'{"instances": ["a\0b"]}', r"JSON Parse error: unexpected control character"),
        (b"[" * 5000, r"JSON Parse error: depth limit exceeded"),
        (b"[1]", r"^JSON Value: \[1\] Is not object$"),
        (b"[" * 500 + b"]" * 500, r"^JSON Value: a deeply nested Array Is not object$"),
        (b"[" * 1000 + b"]" * 1000, r"^JSON Value: a deeply nested Array Is not object$"),
        (b"null", r"^JSON Value: null Is not object$"),
        (b'"' + b"x" * 999 + b'"', r'^JSON Value: "x{199}\.\.\. Is not object$'),
    ],
)
def test_no_json_object(body: bytes, error: str) -> None:
    with pytest.raises(ServingError, match=error) as raised:
        parse(body)
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_the_last_of_two_equal_keys_counts() -> None:
    assert parse(b'{"instances": ["a"], "instances": ["b"]}') == {"instances": ["b"]}


def test_signature_name() -> None:
    assert signature_name({}) == ""
    assert signature_name({"signature_name": "classify"}) == "classify"
    with pytest.raises(ServingError, match=r"'signature_name' key must be a string value\.$"):
        signature_name({"signature_name": 100})


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, r"^Missing 'inputs' or 'instances' key$"),
        ({"instances": ["a"], "inputs": ["a"]}, r"expecting only one of 'inputs' or 'instances'"),
        ({"instances": "a"}, r"Excepting 'instances' to be an list/array$"),
        ({"instances": []}, r"No values in 'instances' array$"),
        (
            {"instances": ["a", 1]},
            r"^Failed to process element: 1 of 'instances' list\. Error: INVALID_ARGUMENT: "
            r"JSON Value: 1 Type: Number is not of expected type: string$",
        ),
        ({"instances": [None]}, r"JSON Value: null Type: Null is not of expected type: string$"),
        ({"instances": [True]}, r"JSON Value: true Type: True is not of expected type: string$"),
        ({"instances": [1.5]}, r"JSON Value: 1.5 Type: Number is not of expected type"),
        (
            {"instances": [["a", "b"]]},
            r"^Failed to process element: 0 of .* Expecting shape \[\] but got: \[2\]$",
        ),
        ({"instances": [[[]]]}, r"Expecting shape \[\] but got: \[1,0\]$"),
        (
            {"instances": [{"text": "a"}, "b"]},
            r"^Expecting object but got list at item 1 of input list$",
        ),
        (
            {"instances": ["a", {"text": "b"}]},
            r"^Expecting value/list but got object at item 1 of input list$",
        ),
        (
            {"instances": [{"text": "a"}, {"txt": "b"}]},
            r"^Failed to process element: 1 key: txt of 'instances' list\. "
            r"Error: INVALID_ARGUMENT: JSON object: does not have named input: txt$",
        ),
        ({"instances": [{}]}, r"keys must be equal to: text$"),
        ({"instances": [{"text": {"b64": 1}}]}, r"not formatted correctly for base64 data$"),
        ({"instances": [{"b64": "a*"}]}, r"Unable to base64 decode$"),
        ({"instances": [{"b64": "é"}]}, r"Unable to base64 decode$"),
        ({"instances": [{"b64": "YWJjZ"}]}, r"Unable to base64 decode$"),
        ({"inputs": "a"}, r"^Expecting shape \[-1\] for input text but got: \[\]$"),
        ({"inputs": 1}, r"^JSON Value: 1 Type: Number is not of expected type: string$"),
        ({"inputs": {"txt": ["a"]}}, r"^Missing named input: text in 'inputs' object\.$"),
        ({"inputs": {"text": {"b64": "YQ=="}}}, r"^Expecting shape \[-1\] for input text"),
        ({"inputs": [["a"]]}, r"^Expecting shape \[-1\] for input text but got: \[1,1\]$"),
        ({"inputs": ["a", ["b"]]}, r"^Encountered list at unexpected level: 1 expected < 1$"),
    ],
)
def test_refused_predict_requests(document: dict[str, Any], error: str) -> None:
    with pytest.raises(ServingError, match=error):
        values(document)


PAIR = ("question", "context")


def pairs(document: dict[str, Any]) -> tuple[list[tuple[bytes, ...]], bool]:
    return predict_values(parse(json.dumps(document).encode()), PAIR, accept)


def test_instances_of_two_inputs() -> None:
    expected = [(b"Who?", b"Ada."), (b"", b"caf\xe9\x00")]
    rows = [{"context": "Ada.", "question": "Who?"}, {"question": "", "context": {"b64": ENCODED}}]
    assert pairs({"instances": rows}) == (expected, True)
    columns = {"question": ["Who?", ""], "context": ["Ada.", {"b64": ENCODED}], "other": 1}
    assert pairs({"inputs": columns}) == (expected, False)
    assert pairs({"inputs": {"question": [], "context": []}}) == ([], False)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (
            {"instances": ["Who?"]},
            r"^instances is a plain list, but expecting list of objects as multiple input tensors",
        ),
        ({"instances": [{"b64": ENCODED}]}, r"^instances is a plain list"),
        (
            {"instances": [{"question": "a", "context": "b"}, {"question": "Who?"}]},
            r'^Failed to process element: 1 of .* JSON object: \{"question":"Who\?"\} keys must be '
            r"equal to: context,question$",
        ),
        (
            {"instances": [{"question": "a", "context": "b", "text": "c"}]},
            r"element: 0 key: text of .* does not have named input: text$",
        ),
        (
            {"instances": [{"question": "a", "context": ["b"]}]},
            r"element: 0 key: context of .* Expecting shape \[\] but got: \[1\]$",
        ),
        (
            {"instances": [{"question": "a", "context": "b"}, "c"]},
            r"^Expecting object but got list at item 1 of input list$",
        ),
        (
            {"inputs": ["Who?"]},
            r"^inputs is a plain value/list, but expecting an object as multiple input tensors",
        ),
        ({"inputs": {"question": ["a"]}}, r"^Missing named input: context in 'inputs' object\.$"),
        ({"inputs": {"question": "a", "context": ["b"]}}, r"^Expecting shape \[-1\] for input q"),
        (
            {"inputs": {"question": ["a", "b"], "context": ["c"]}},
            r"must have equal 0th-dimension size\. Received: 2 of question, 1 of context$",
        ),
    ],
)
def test_refused_requests_of_two_inputs(document: dict[str, Any], error: str) -> None:
    with pytest.raises(ServingError, match=error) as raised:
        pairs(document)
    assert raised.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("document", [{"instances": [1, 2]}, {"inputs": [1, 2]}])
def test_values_are_counted_before_they_are_read(document: dict[str, Any]) -> None:
    with pytest.raises(ServingError, match="counted 2"):
        predict_values(document, ("text",), refuse)
    with pytest.raises(ServingError, match=r"may have 1 instances .* Received: 2$"):
        read_examples({"examples": [1, 2]}, input_pb2.Input(), Limits(max_instances=1))


@pytest.mark.parametrize(
    "document",
    [
        {"examples": [{"n": [1] * 512}]},
        {"examples": [{"n": [1] * 300}, {"n": [1] * 300}]},
        {"examples": [{str(number): 1 for number in range(300)}]},
        {"examples": [{str(number): [] for number in range(600)}]},
        {"examples": [{"text": "a"}], "context": {"text": [None] * 600}},
    ],
)
def test_the_values_of_examples_are_counted_before_they_are_read(document: Any) -> None:
    read = input_pb2.Input()
    with pytest.raises(ServingError) as refused:
        read_examples(document, read, Limits(max_instances=8))
    assert refused.value.message == (
        "The examples of a request may have 512 features and values together (64 for each of "
        "--max_instances). Received: more"
    )
    assert read.ByteSize() < 5000


class Watched(dict[str, Any]):
    """A document that can be seen to go."""


@pytest.mark.parametrize("refused", [False, True])
def test_a_large_document_is_gone_before_it_is_collected(
    monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    alive: list[weakref.ref[Watched]] = []

    def parsed(body: bytes) -> Watched:
        document = Watched(instances=["a", 1 if refused else "b"])
        alive.append(weakref.ref(document))
        return document

    enabled = gc.enable

    def enable() -> None:
        assert alive[0]() is None
        enabled()

    def take(document: dict[str, Any]) -> list[bytes]:
        assert not gc.isenabled()
        return predict_values(document, ("text",), accept)[0]

    monkeypatch.setattr(json_requests, "parse", parsed)
    monkeypatch.setattr(gc, "enable", enable)
    body = b" " * 2**18
    if refused:
        with pytest.raises(ServingError, match="^Failed to process element: 1"):
            read(body, take)
    else:
        assert read(body, take) == [b"a", b"b"]
    assert gc.isenabled()


def test_examples() -> None:
    read = examples({"examples": [{"text": "a", "n": [1, 2], "x": 0.5, "yes": True}, {}]})
    first, second = read.example_list.examples
    feature = first.features.feature
    assert feature["text"].bytes_list.value == [b"a"]
    assert feature["n"].int64_list.value == [1, 2]
    assert feature["x"].float_list.value == [0.5]
    assert feature["yes"].int64_list.value == [1]
    assert not second.features.feature


def test_examples_with_context() -> None:
    read = examples({"context": {"text": {"b64": ENCODED}}, "examples": [{"n": 1}]})
    both = read.example_list_with_context
    assert both.context.features.feature["text"].bytes_list.value == [b"caf\xe9\x00"]
    assert len(both.examples) == 1


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, r"When method is classify, key 'examples' is expected and was not found$"),
        ({"examples": {}}, r"Expecting 'examples' value to be an list/array$"),
        ({"examples": []}, r"'examples' value is an empty array$"),
        ({"examples": ["a"]}, r"^Example must be JSON object but got JSON String$"),
        ({"context": 1, "examples": [{}]}, r"^Example must be JSON object but got JSON Number$"),
        ({"examples": [{"text": None}]}, r"^Feature: text has element with unexpected JSON type"),
        ({"examples": [{"text": [["a"]]}]}, r"has element with unexpected JSON type: Array$"),
        ({"examples": [{"text": {"c": 1}}]}, r"has element with unexpected JSON type: Object$"),
        ({"examples": [{"text": {"b64": "*"}}]}, r"^Unable to base64 decode$"),
        (
            {"examples": [{"text": ["a", 1]}]},
            r"^Unexpected element type in feature: text expecting type: bytes$",
        ),
        ({"examples": [{"n": 2**63}]}, r"^Feature: n has uint64 element\. Only int64 is supp"),
        ({"examples": [{"x": 1e300}]}, r"^Cannot convert JSON value: 1e\+300 to float without"),
    ],
)
def test_refused_examples(document: dict[str, Any], error: str) -> None:
    with pytest.raises(ServingError, match=error):
        examples(document)
