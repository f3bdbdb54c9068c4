"""What is asked for, checked and refused, in TF Serving's words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    regression_pb2,
)

from tests.serving.running import TEXTS, Log, deploy, expected, settings
from tfhub_transfer.artifact.predictor import CLASSIFY
from tfhub_transfer.serving import examples
from tfhub_transfer.serving import limits as limits_module
from tfhub_transfer.serving.batching import BatchingParameters
from tfhub_transfer.serving.examples import REGRESS
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.model_config import configured_models
from tfhub_transfer.serving.service import Service
from tfhub_transfer.serving.status import HTTP_STATUS, Code, ServingError
from tfhub_transfer.serving.telemetry import Telemetry
from tfhub_transfer.serving.versions import Models

VALUES = [text.encode() for text in TEXTS]
LIMITS = Limits(max_text_bytes=100, max_instances=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("film")
    deploy(base, 5)
    return base


@pytest.fixture
def ask(base) -> Callable[[Callable[[Service], Coroutine[Any, Any, Any]]], Any]:
    """Return a function that runs another on a service that is ready."""

    def run(main: Callable[[Service], Coroutine[Any, Any, Any]]) -> Any:
        async def body() -> Any:
            config = settings(base)
            telemetry = Telemetry(stream=Log())
            models = Models(configured_models(config), config, BatchingParameters(), telemetry)
            models.start()
            try:
                await asyncio.wait_for(models.wait_until_ready(), 30)
                return await main(Service(models, LIMITS, telemetry))
            finally:
                await models.close()

        return asyncio.run(body())

    return run


def spec(name: str = "film", version: int | None = None, signature: str = "") -> Any:
    made = model_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        made.version.value = version
    return made


def example(text: bytes | None = b"a good film") -> tf.train.Example:
    made = tf.train.Example()
    if text is not None:
        made.features.feature["text"].bytes_list.value.append(text)
    return made


def classification(signature: str = "classify", texts=VALUES) -> Any:
    request = classification_pb2.ClassificationRequest(model_spec=spec(signature=signature))
    request.input.example_list.examples.extend(example(text) for text in texts)
    return request


def test_predict(ask):
    answer = ask(lambda service: service.predict(spec(), VALUES))
    np.testing.assert_allclose(answer.outputs["probabilities"], expected(), atol=1e-6)
    assert answer.spec == spec(version=5, signature="serving_default")


@pytest.mark.parametrize(
    ("wanted", "values", "code", "message"),
    [
        (spec(name=""), VALUES, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (spec("b"), VALUES, "NOT_FOUND", "Servable not found for request: Latest(b)"),
        (spec("b", 3), VALUES, "NOT_FOUND", "Servable not found for request: Specific(b, 3)"),
        (spec(version=6), VALUES, "NOT_FOUND", "Servable not found for request: Specific(film, 6)"),
        (spec("", 5), VALUES, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            spec(signature="x"),
            VALUES,
            "FAILED_PRECONDITION",
            'Serving signature key "x" not found.',
        ),
        (spec(), [], "INVALID_ARGUMENT", "Input is empty."),
        (
            spec(),
            [b"a"] * 9,
            "INVALID_ARGUMENT",
            "A request may have 8 instances (--max_instances). Received: 9",
        ),
        (
            spec(),
            [b"a" * 100, b"a" * 101],
            "INVALID_ARGUMENT",
            "An instance may have 100 bytes in UTF-8 (--max_text_bytes). "
            "Received: 101 bytes at index 1",
        ),
    ],
)
def test_predict_refuses(ask, wanted, values, code, message):
    with pytest.raises(ServingError) as refused:
        ask(lambda service: service.predict(wanted, values))
    assert (refused.value.code.name, refused.value.message) == (code, message)


def test_a_value_that_the_graph_refuses(ask):
    with pytest.raises(ServingError, match="Could not parse example") as refused:
        ask(lambda service: service.predict(spec(signature="classify"), [b"no example"]))
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_one_bad_example_in_a_merged_batch_fails_alone(ask):
    async def main(service: Service) -> list[Any]:
        requests = [classification(texts=[text]) for text in VALUES]
        requests[1].input.example_list.examples[0].Clear()
        return await asyncio.gather(
            *(service.classify(request) for request in requests), return_exceptions=True
        )

    answers = ask(main)
    assert isinstance(answers[1], ServingError)
    assert answers[1].code is Code.INVALID_ARGUMENT
    for index in (0, 2, 3):
        np.testing.assert_allclose(answers[index].outputs["scores"], expected()[[index]], atol=1e-6)


def test_the_signature_that_rest_asks_for(ask):
    async def main(service: Service) -> None:
        assert service.signature(spec()).inputs == ("text",)
        assert service.signature(spec(signature="classify")).method == CLASSIFY
        with pytest.raises(
            ServingError, match='^Serving signature name: "x" not found in signature def$'
        ) as refused:
            service.signature(spec(signature="x"))
        assert refused.value.code is Code.INVALID_ARGUMENT

    ask(main)


def test_classify(ask):
    answer = ask(lambda service: service.classify(classification()))
    assert answer.spec == spec(version=5, signature="classify")
    np.testing.assert_allclose(answer.outputs["scores"], expected(), atol=1e-6)
    assert answer.outputs["classes"][0].tolist() == [b"good", b"poor"]


def test_a_shared_context(ask):
    request = classification_pb2.ClassificationRequest(model_spec=spec(signature="classify"))
    shared = request.input.example_list_with_context
    shared.context.CopyFrom(example(VALUES[0]))
    shared.examples.add()
    shared.examples.append(example(VALUES[1]))
    answer = ask(lambda service: service.classify(request))
    np.testing.assert_allclose(answer.outputs["scores"], expected()[:2], atol=1e-6)


def with_context(text: bytes, count: int) -> Any:
    request = classification_pb2.ClassificationRequest(model_spec=spec(signature="classify"))
    request.input.example_list_with_context.context.CopyFrom(example(text))
    for _ in range(count):
        request.input.example_list_with_context.examples.add()
    return request


def test_the_longest_text_passes_both_ways(ask):
    longest = b"a" * LIMITS.max_text_bytes

    async def main(service: Service) -> None:
        await service.predict(spec(), [longest])
        await service.classify(classification(texts=[longest]))
        serialized = example(longest).SerializeToString()
        await service.predict(spec(signature="classify"), [serialized])
        with pytest.raises(ServingError, match=r"100 bytes .* 100 more\. Received: 2\d\d bytes"):
            await service.classify(classification(texts=[b"a" * 201]))

    ask(main)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (with_context(b"a" * 10**6, 9), r"may have 8 instances .* Received: 9$"),
        (with_context(b"a" * 10**6, 8), r"may have 100 bytes .* Received: 10000\d\d bytes at "),
        (with_context(b"a" * 100, 8), r"500 bytes together .*\. Received: 928$"),
    ],
)
def test_a_context_is_not_multiplied_before_it_is_checked(request_, message, monkeypatch):
    limits = Limits(max_body_bytes=500, max_text_bytes=100, max_instances=8)
    monkeypatch.setattr(limits_module, "_EXAMPLE_ROOM", 30)
    with pytest.raises(ServingError, match=message):
        examples.serialized(request_.input, limits)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (classification_pb2.ClassificationRequest(), "Missing ModelSpec"),
        (classification("x"), "No signature was found with the name: x"),
        (
            classification(""),
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict",
        ),
        (classification(texts=[]), "Input is empty."),
        (
            classification(texts=VALUES * 3),
            "A request may have 8 instances (--max_instances). Received: 12",
        ),
    ],
)
def test_classify_refuses(ask, request_, message):
    with pytest.raises(ServingError) as refused:
        ask(lambda service: service.classify(request_))
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (
            "",
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict",
        ),
        (
            "classify",
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/classify",
        ),
        ("x", "No signature was found with the name: x"),
    ],
)
def test_regress_is_refused(ask, signature, message):
    request = regression_pb2.RegressionRequest(model_spec=spec(signature=signature))
    with pytest.raises(ServingError) as refused:
        ask(lambda service: service.regress(request))
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, message)


def inference(*tasks: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        request.tasks.add(model_spec=spec(name, signature=signature), method_name=method)
    request.input.example_list.examples.extend(example(text) for text in VALUES)
    return request


def test_multi_inference(ask):
    request = inference(("film", "classify", CLASSIFY))
    (result,) = ask(lambda service: service.multi_inference(request)).results
    assert result.model_spec == spec(version=5, signature="classify")
    scores = [
        [one.score for one in row.classes] for row in result.classification_result.classifications
    ]
    np.testing.assert_allclose(scores, expected(), atol=1e-6)


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified"),
        ([("film", "x", CLASSIFY)], "INVALID_ARGUMENT", "signature not found in model graph: x"),
        ([("film", "classify", "m")], "UNIMPLEMENTED", "Unsupported signature method_name: m"),
        ([("film", "classify", REGRESS)], "INVALID_ARGUMENT", "Expected regression signature"),
        (
            [("film", "classify", CLASSIFY), ("film", "classify", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: classify",
        ),
        (
            [("film", "classify", CLASSIFY), ("other", "classify", CLASSIFY)],
            "INVALID_ARGUMENT",
            "must access the same model name",
        ),
    ],
)
def test_multi_inference_refuses(ask, tasks, code, message):
    with pytest.raises(ServingError, match=message) as refused:
        ask(lambda service: service.multi_inference(inference(*tasks)))
    assert refused.value.code.name == code


def metadata(*fields: str) -> get_model_metadata_pb2.GetModelMetadataRequest:
    return get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec(), metadata_field=fields
    )


def test_metadata(ask):
    async def main(service: Service) -> Any:
        return service.metadata(metadata("signature_def"))

    response = ask(main)
    assert response.model_spec == spec(version=5)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "classify"}
    assert set(signatures.signature_def["serving_default"].outputs) == {
        "label",
        "probabilities",
        "score",
    }


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (get_model_metadata_pb2.GetModelMetadataRequest(), "Missing ModelSpec"),
        (metadata(), "GetModelMetadataRequest must specify at least one metadata_field"),
        (metadata("signature_def", "graph"), "Metadata field graph is not supported"),
    ],
)
def test_metadata_refuses(ask, request_, message):
    async def main(service: Service) -> None:
        service.metadata(request_)

    with pytest.raises(ServingError) as refused:
        ask(main)
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (None, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (spec("other"), Code.NOT_FOUND, "Could not find any versions of model other"),
        (spec(version=7), Code.NOT_FOUND, "Could not find version 7 of model film"),
    ],
)
def test_status_refuses(ask, wanted, code, message):
    async def main(service: Service) -> None:
        service.status(get_model_status_pb2.GetModelStatusRequest(model_spec=wanted))

    with pytest.raises(ServingError) as refused:
        ask(main)
    assert (refused.value.code, refused.value.message) == (code, message)


def test_readiness_ends_when_draining_begins(ask):
    async def main(service: Service) -> None:
        assert service.model_names == ("film",)
        assert service.ready
        service.draining = True
        assert not service.ready
        await service.predict(spec(), VALUES)

    ask(main)


def test_every_code_has_a_status_of_http():
    assert HTTP_STATUS.keys() == set(Code)
    assert HTTP_STATUS[Code.RESOURCE_EXHAUSTED] == 429


@pytest.mark.parametrize(("rows", "labels"), [(1, 2), (3, 50), (40, 1000)])
def test_an_answer_of_classify_is_written_as_protobuf_does(rows, labels):
    classes = np.array([[f"läbel {number}".encode() for number in range(labels)]] * rows, object)
    scores = np.random.default_rng(0).random((rows, labels), np.float32)
    outputs = {"classes": classes, "scores": scores}
    made = classification_pb2.ClassificationResponse(model_spec=spec(version=7))
    examples.fill(made.result, outputs)
    written = examples.response(spec(version=7), outputs)
    assert written == made.SerializeToString()
    assert made.result.classifications[-1].classes[-1].label == f"läbel {labels - 1}"
