"""TensorFlow Serving's gRPC services, for tensorflow-serving-api's stubs.

The services, of prediction_service.proto and model_service.proto, are registered by hand and not by
the generated code: that answers bytes that are no such message with UNKNOWN and the name of a
Python class, where here it is INVALID_ARGUMENT.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tfhub_transfer.artifact.predictor import Instance
from tfhub_transfer.serving import examples, tensors
from tfhub_transfer.serving.making import made
from tfhub_transfer.serving.service import Service
from tfhub_transfer.serving.status import Code, ServingError

# A refusal travels in a header, percent-encoded to at most 12 bytes a character, and may quote what
# the client sent; of headers larger than 8 KiB clients see only that they were too large.
_LONGEST_REFUSAL = 600
_STATUS = {code: getattr(grpc.StatusCode, code.name) for code in Code}


def add_services(server: grpc.aio.Server, service: Service) -> None:
    """Let `server` answer PredictionService and ModelService for `service`."""
    calls = _Calls(service)
    services: dict[str, dict[str, tuple[str, type[Message], _Call]]] = {
        "tensorflow.serving.PredictionService": {
            "Predict": ("predict", predict_pb2.PredictRequest, calls.predict),
            "Classify": ("classify", classification_pb2.ClassificationRequest, calls.classify),
            "Regress": ("regress", regression_pb2.RegressionRequest, calls.regress),
            "MultiInference": (
                "multi_inference",
                inference_pb2.MultiInferenceRequest,
                calls.multi_inference,
            ),
            "GetModelMetadata": (
                "metadata",
                get_model_metadata_pb2.GetModelMetadataRequest,
                calls.metadata,
            ),
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": ("status", get_model_status_pb2.GetModelStatusRequest, calls.status),
            "HandleReloadConfigRequest": (
                "reload_config",
                model_management_pb2.ReloadConfigRequest,
                calls.reload_config,
            ),
        },
    }
    for name, methods in services.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                partial(calls.answer, label, message, call),
                response_serializer=_serialize,
            )
            for method, (label, message, call) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


class _Told:
    """What telemetry is told of a request, as far as it is known."""

    __slots__ = ("model", "values", "version")

    def __init__(self) -> None:
        self.model = ""
        self.values: Sequence[Instance] = ()
        self.version: int | None = None


_Answer = Message | bytes
_Call = Callable[[Any, _Told], Awaitable[_Answer]]


class _Calls:
    """The methods of both services, and what they have in common."""

    def __init__(self, service: Service):
        self._service = service
        self._models = frozenset(service.model_names)

    async def answer(
        self,
        method: str,
        message: type[Message],
        call: _Call,
        body: bytes,
        context: grpc.aio.ServicerContext,
    ) -> _Answer:
        """Return what `call` does; of what it refuses, the client is told.

        Args:
            method: its name, for telemetry.
            message: what `body` should be.
            call: the method; it fills in what telemetry is told.
            body: of the request.
            context: of the request.
        """
        begun = time.perf_counter()
        told = _Told()
        code, refusal, quotes_no_text = Code.OK, None, False
        try:
            if self._service.closing:
                raise ServingError(Code.UNAVAILABLE, "The server is stopping; ask another one.")
            return await call(_parsed(message, body), told)
        except ServingError as error:
            code, refusal, quotes_no_text = error.code, error.message, error.quotes_no_text
        except Exception as error:  # a fault of ours: the client learns that, and no more
            code, refusal = Code.INTERNAL, "Internal error; the server's log has more"
            lines = "".join(traceback.format_tb(error.__traceback__))
            self._service.telemetry.event("fault", error=type(error).__name__, traceback=lines)
        except BaseException:
            code = Code.CANCELLED
            raise
        finally:
            self._service.telemetry.request(
                api="grpc",
                method=method,
                model=told.model if told.model in self._models else "",
                code=code.name,
                seconds=time.perf_counter() - begun,
                instances=len(told.values),
                version=told.version,
                texts=told.values,
                error=refusal,
                quotes_no_text=quotes_no_text,
            )
        return await _abort(context, code, refusal)

    async def predict(
        self, request: predict_pb2.PredictRequest, told: _Told
    ) -> predict_pb2.PredictResponse:
        told.model = request.model_spec.name
        if not request.HasField("model_spec"):
            raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec", quotes_no_text=True)
        signature = self._service.predict_signature(request.model_spec)
        told.values = tensors.request_values(request, signature, self._service.limits)
        aliases = tensors.wanted_outputs(request.output_filter, signature)
        answer = await self._service.predict(request.model_spec, told.values)
        told.version = answer.spec.version.value
        response = predict_pb2.PredictResponse(model_spec=answer.spec)
        for alias in aliases:
            tensors.fill(response.outputs[alias], answer.outputs[alias])
        return response

    async def classify(
        self, request: classification_pb2.ClassificationRequest, told: _Told
    ) -> bytes:
        told.model = request.model_spec.name
        answer = await self._service.classify(request)
        told.version = answer.spec.version.value
        write = partial(examples.response, answer.spec, answer.outputs)
        return await made(write, answer.outputs["scores"].size)

    async def regress(self, request: regression_pb2.RegressionRequest, told: _Told) -> NoReturn:
        told.model = request.model_spec.name
        await self._service.regress(request)

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, told: _Told
    ) -> inference_pb2.MultiInferenceResponse:
        told.model = request.tasks[0].model_spec.name if request.tasks else ""
        return await self._service.multi_inference(request)

    async def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, told: _Told
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        told.model = request.model_spec.name
        response = self._service.metadata(request)
        told.version = response.model_spec.version.value
        return response

    async def status(
        self, request: get_model_status_pb2.GetModelStatusRequest, told: _Told
    ) -> get_model_status_pb2.GetModelStatusResponse:
        told.model = request.model_spec.name
        return self._service.status(request)

    async def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, told: _Told
    ) -> NoReturn:
        raise ServingError(
            Code.UNIMPLEMENTED,
            "This server's models are configured when it starts, by --model_config_file; "
            "TensorFlow Serving takes this request. New versions of a model need none.",
        )


def _parsed(message: type[Message], body: bytes) -> Message:
    try:
        return message.FromString(body)
    except DecodeError:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"The request is no {message.DESCRIPTOR.full_name}. Received: {len(body)} bytes that "
            f"cannot be parsed as one",
            quotes_no_text=True,
        ) from None


def _serialize(answer: _Answer) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


async def _abort(context: grpc.aio.ServicerContext, code: Code, refusal: str) -> NoReturn:
    if len(refusal) > _LONGEST_REFUSAL:
        refusal = f"{refusal[:_LONGEST_REFUSAL]}..."
    await context.abort(_STATUS[code], refusal)
    raise AssertionError  # abort() raises
