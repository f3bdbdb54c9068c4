"""tensorflow-serving-api's own stubs against a server."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.running import TEXTS, Running, deploy, expected, running, settings

VALUES = [text.encode() for text in TEXTS]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Running]:
    base = tmp_path_factory.mktemp("film")
    deploy(base, 5)
    config = settings(base, rest_api_port=0, max_body_bytes=100_000, max_text_bytes=1000)
    with running(config) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(values: Any = VALUES, *, alias: str = "text", **fields: Any) -> Any:
    made = predict_pb2.PredictRequest(**fields)
    made.model_spec.name = "film"
    if values is not None:
        made.inputs[alias].CopyFrom(tf.make_tensor_proto(values))
    return made


def refusal(call: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call(*arguments, timeout=10)
    return refused.value.code().name, refused.value.details()


def test_predict(prediction):
    response = prediction.Predict(request(), timeout=10)
    assert response.model_spec.version.value == 5
    assert response.model_spec.signature_name == "serving_default"
    probabilities = tf.make_ndarray(response.outputs["probabilities"])
    np.testing.assert_allclose(probabilities, expected(), atol=1e-6)
    labels = np.array([b"good", b"poor"], object)[expected().argmax(axis=1)]
    assert tf.make_ndarray(response.outputs["label"]).tolist() == labels.tolist()
    # in fields, not as raw memory: clients in other languages read those
    assert len(response.outputs["score"].float_val) == len(TEXTS)


def test_many_clients_are_answered_rightly(prediction):
    def ask(index: int) -> bool:
        response = prediction.Predict(request([VALUES[index % 4]]), timeout=20)
        row = tf.make_ndarray(response.outputs["probabilities"])
        return np.allclose(row, expected()[index % 4], atol=1e-5)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(300)))


def test_output_filter(prediction):
    response = prediction.Predict(request(output_filter=["score", "label"]), timeout=10)
    assert set(response.outputs) == {"score", "label"}


def string_tensor(sizes: list[int], strings: list[bytes], **fields: Any) -> Any:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=strings, **fields)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@pytest.mark.parametrize(
    "tensor",
    [
        string_tensor([3], [VALUES[0], VALUES[1]]),  # the last one stands for the rest
        string_tensor([3], [], tensor_content=bytes([11, 9, 9]) + VALUES[0] + VALUES[1] * 2),
    ],
)
def test_tensors_in_their_rarer_forms(prediction, tensor):
    made = request(None)
    made.inputs["text"].CopyFrom(tensor)
    probabilities = tf.make_ndarray(prediction.Predict(made, timeout=10).outputs["probabilities"])
    np.testing.assert_allclose(probabilities, expected()[[0, 1, 1]], atol=1e-6)


def test_a_string_that_stands_for_many_is_not_multiplied_before_it_is_checked(prediction):
    longest = request(None)
    longest.inputs["text"].CopyFrom(string_tensor([90], [b"a" * 1000]))
    assert len(prediction.Predict(longest, timeout=20).outputs["score"].float_val) == 90
    with mock.patch.object(tf.io, "parse_tensor", side_effect=AssertionError):
        for sizes, length, message in (
            ([1024], 90_000, r"may have 1000 bytes .* Received: 90000 bytes at index 0"),
            ([1024], 1000, r"may have 100000 bytes together .* Received: 1024000$"),
        ):
            made = request(None)
            made.inputs["text"].CopyFrom(string_tensor(sizes, [b"a" * length]))
            code, details = refusal(prediction.Predict, made)
            assert code == "INVALID_ARGUMENT"
            assert re.search(message, details), details


def test_content_goes_before_strings_which_are_not_multiplied(prediction):
    made = request(None)
    content = bytes([11, 9]) + VALUES[0] + VALUES[1]
    made.inputs["text"].CopyFrom(string_tensor([2], [b"a" * 2000], tensor_content=content))
    probabilities = tf.make_ndarray(prediction.Predict(made, timeout=10).outputs["probabilities"])
    np.testing.assert_allclose(probabilities, expected()[:2], atol=1e-6)
    made.inputs["text"].tensor_content = b""
    code, details = refusal(prediction.Predict, made)
    assert (code, "2000 bytes at index 0" in details) == ("INVALID_ARGUMENT", True)


def test_a_refusal_that_quotes_no_text_is_logged(server, prediction):
    made = request(["my secret"] * 1025)
    message = "A request may have 1024 instances (--max_instances). Received: 1025"
    assert refusal(prediction.Predict, made) == ("INVALID_ARGUMENT", message)
    refusal(prediction.Predict, request(alias="my secret"))
    told, untold = server.log.events("request")[-2:]
    assert (told["code"], told["error"]) == ("INVALID_ARGUMENT", message)
    assert "error" not in untold
    assert "secret" not in server.log.getvalue()


UNKNOWN_RANK = string_tensor([], [b"a"])
UNKNOWN_RANK.tensor_shape.unknown_rank = True


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (string_tensor([10**9], [b"a"]), r"may have 1024 instances .* Received: 1000000000"),
        (string_tensor([-2], [b"a"]), r"Input is empty"),
        (string_tensor([0], []), r"Input is empty"),
        (string_tensor([], [b"a"]), r"of shape \[n\], .* Received: shape \[\]"),
        (string_tensor([1, 1], [b"a"]), r"of shape \[n\], .* Received: shape \[1, 1\]"),
        (UNKNOWN_RANK, r"Received: shape unknown"),
        (string_tensor([1], [b"a", b"b"]), r"tensor parsing error: text"),
        (string_tensor([2], [], tensor_content=b"\xff\xff"), r"tensor parsing error: text"),
        (tf.make_tensor_proto([1.0]), r"Expects arg\[0\] to be string but float is provided"),
        (tf.make_tensor_proto([[7]]), r"Expects arg\[0\] to be string but int32 is provided"),
        (tensor_pb2.TensorProto(dtype=9999), r"Expects arg\[0\] to be string but 9999 is"),
        (string_tensor([1], [b"a" * 1001]), r"1000 bytes .* Received: 1001 bytes at index 0"),
    ],
)
def test_tensors_that_are_refused(prediction, tensor, message):
    made = request(None)
    made.inputs["text"].CopyFrom(tensor)
    code, details = refusal(prediction.Predict, made)
    assert code == "INVALID_ARGUMENT"
    assert re.search(message, details), details


def two_inputs() -> Any:
    made = request()
    made.inputs["other"].CopyFrom(tf.make_tensor_proto([1]))
    return made


@pytest.mark.parametrize(
    ("made", "code", "message"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            request(None),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({text}). "
            "Sent extra: {}. Missing but required: {text}.",
        ),
        (
            two_inputs(),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({other,text}) != len({text}). "
            "Sent extra: {other}. Missing but required: {}.",
        ),
        (
            request(alias="inputs"),
            "INVALID_ARGUMENT",
            "input tensor alias not found in signature: inputs. "
            "Inputs expected to be in the set {text}.",
        ),
        (
            request(output_filter=["x"]),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: x "
            "Outputs expected to be in the set {label,probabilities,score}.",
        ),
        (
            request(output_filter=["score", "score"]),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: score",
        ),
    ],
)
def test_requests_that_are_refused(prediction, made, code, message):
    assert refusal(prediction.Predict, made) == (code, message)


def answered(call: Any, body: bytearray) -> str:
    try:
        call(bytes(body), timeout=10)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_bytes_that_are_no_message(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    code, details = refusal(call, b"\xff\xff")
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("The request is no tensorflow.serving.PredictRequest. Received: 2 b")


@settings_of(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_requests_with_broken_bytes(server, channel, data):
    body = bytearray(request([b"a"]).SerializeToString())
    edits = st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255), st.booleans())
    for index, byte, cut in data.draw(st.lists(edits, min_size=1, max_size=3)):
        if cut:
            del body[index : index + 1]
        else:
            body[index : index + 1] = bytes([byte])
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    code = answered(call, body)
    assert code in {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}
    assert not server.log.events("fault")


def test_a_refusal_that_quotes_much_arrives(prediction):
    code, details = refusal(prediction.Predict, request(alias="映" * 20_000))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("input tensor alias not found in signature: 映映")
    assert len(details) < 700


def test_specs_that_are_refused(prediction):
    made = request()
    made.model_spec.signature_name = "x"
    text = 'Serving signature key "x" not found.'
    assert refusal(prediction.Predict, made) == ("FAILED_PRECONDITION", text)
    made.model_spec.version.value = 9
    text = "Servable not found for request: Specific(film, 9)"
    assert refusal(prediction.Predict, made) == ("NOT_FOUND", text)


def test_a_message_that_is_too_large(prediction):
    code, details = refusal(prediction.Predict, request([b"a" * 200_000]))
    assert code == "RESOURCE_EXHAUSTED"
    assert "100000" in details


def test_classify(prediction):
    made = classification_pb2.ClassificationRequest()
    made.model_spec.name, made.model_spec.signature_name = "film", "classify"
    for value in VALUES:
        added = made.input.example_list.examples.add()
        added.features.feature["text"].bytes_list.value.append(value)
    rows = prediction.Classify(made, timeout=10).result.classifications
    scores = [[one.score for one in row.classes] for row in rows]
    np.testing.assert_allclose(scores, expected(), atol=1e-6)
    multi = inference_pb2.MultiInferenceRequest(input=made.input)
    multi.tasks.add(model_spec=made.model_spec, method_name="tensorflow/serving/classify")
    (result,) = prediction.MultiInference(multi, timeout=10).results
    assert list(result.classification_result.classifications) == list(rows)


def test_regress_is_refused(prediction):
    made = regression_pb2.RegressionRequest()
    made.model_spec.name = "film"
    code, details = refusal(prediction.Regress, made)
    assert code == "INVALID_ARGUMENT"
    assert "method_name to be tensorflow/serving/regress" in details


def test_metadata(prediction):
    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    made.model_spec.name = "film"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response = prediction.GetModelMetadata(made, timeout=10)
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["classify"].method_name == "tensorflow/serving/classify"


def test_status(models):
    made = get_model_status_pb2.GetModelStatusRequest()
    made.model_spec.name = "film"
    (status,) = models.GetModelStatus(made, timeout=10).model_version_status
    assert (status.version, status.state) == (5, status.AVAILABLE)
    assert status.status.error_code == 0


def test_reloading_the_configuration_is_not_there(models):
    made = model_management_pb2.ReloadConfigRequest()
    code, details = refusal(models.HandleReloadConfigRequest, made)
    assert code == "UNIMPLEMENTED"
    assert "--model_config_file" in details


def test_a_deadline_frees_the_queue(server, prediction):
    workers = server.server.models._workers
    held = threading.Event()
    try:
        workers.submit(held.wait, 10)
        with pytest.raises(grpc.RpcError) as late:
            prediction.Predict(request(), timeout=0.2)
        assert late.value.code().name == "DEADLINE_EXCEEDED"
    finally:
        held.set()
    assert prediction.Predict(request(), timeout=10).model_spec.version.value == 5


def test_every_request_is_told_of(server, prediction):
    prediction.Predict(request(), timeout=10)
    made = request()
    made.model_spec.name = "nobody's"
    refusal(prediction.Predict, made)
    *_, good, bad = server.log.events("request")
    assert (good["api"], good["method"], good["model"]) == ("grpc", "predict", "film")
    assert (good["code"], good["instances"], good["version"]) == ("OK", 4, 5)
    assert (bad["code"], bad["model"]) == ("NOT_FOUND", "")
    assert "texts" not in good
