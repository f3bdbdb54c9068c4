"""TensorFlow Serving's REST API: `/v1/models/...`.

Paths, the order of checks and the texts of errors follow TF Serving's
model_servers/http_rest_api_handler.cc and http_rest_api_util.cc: the path with its query has to
match; the content type is not looked at; everything else below /v1/ is a "Malformed request".
"""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

from tfhub_transfer.artifact.predictor import Instance
from tfhub_transfer.serving import json_answers, json_requests
from tfhub_transfer.serving.body import BodyError, Disconnected, read_body
from tfhub_transfer.serving.disconnect import DisconnectWatch
from tfhub_transfer.serving.making import made
from tfhub_transfer.serving.status import HTTP_STATUS, Code, ServingError

if TYPE_CHECKING:
    from tfhub_transfer.serving.service import Service

__all__ = ["RestApi"]

_VERSION = rb"(?:/versions/(\d+)|/labels/([^/:]+))?"
_CALL = re.compile(
    rb"/v1/models/([^/:]+)" + _VERSION + rb":(classify|regress|predict)", re.IGNORECASE
)
_LOOK = re.compile(rb"/v1/models(?:/([^/:]+))?" + _VERSION + rb"(?:/(metadata))?", re.IGNORECASE)
_LARGEST_VERSION = 2**63 - 1
_JSON = (b"content-type", b"application/json")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


@dataclass
class _Call:
    """What telemetry is told of a request."""

    method: str = ""
    model: str = ""
    version: int | None = None
    instances: int = 0
    texts: Sequence[Instance] = ()


class RestApi:
    """`/v1/models/...`, as an ASGI application."""

    def __init__(self, service: Service):
        self._service = service
        self._models = frozenset(service.model_names)
        # As in TF Serving, the rest of the path may be in capitals but these words may not.
        self._answers = {
            b"predict": self._predict,
            b"classify": self._classify,
            b"regress": self._regress,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        started = time.perf_counter()
        call = _Call()
        code, status, refusal, quotes_no_text = Code.OK, 200, None, False
        try:
            body = await self._answer(scope, receive, call)
        except Disconnected:
            code, body = Code.CANCELLED, b""
        except ServingError as error:
            code, refusal, quotes_no_text = error.code, error.message, error.quotes_no_text
            status = error.status if isinstance(error, BodyError) else HTTP_STATUS[code]
            body = json_answers.error(refusal)
        except Exception as error:  # a fault of ours: the client learns that, and no more
            code, status = Code.INTERNAL, 500
            body = json_answers.error("Internal error; the server's log has more")
            self._log_fault(error)
        self._service.telemetry.request(
            api="rest",
            method=call.method,
            model=call.model,
            code=code.name,
            seconds=time.perf_counter() - started,
            instances=call.instances,
            version=call.version,
            texts=call.texts,
            error=refusal,
            quotes_no_text=quotes_no_text,
        )
        if code is Code.CANCELLED and not body:
            return
        headers = [_JSON, _NO_SNIFFING, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, call: _Call) -> bytes:
        verb, path = scope["method"], scope["raw_path"]
        if scope["query_string"]:
            path = path + b"?" + scope["query_string"]
        if verb == "POST" and (match := _CALL.fullmatch(path)):
            spec = self._spec(match, call)
            if answer := self._answers.get(match[4]):
                call.method = match[4].decode()
                body = await read_body(scope, receive, self._service.limits.max_body_bytes)
                watch = DisconnectWatch(receive)
                try:
                    return await answer(spec, body, call)
                except asyncio.CancelledError:
                    if watch.gone:
                        raise Disconnected from None
                    raise
                finally:
                    watch.stop()
        elif verb == "GET" and (match := _LOOK.fullmatch(path)):
            spec = self._spec(match, call)
            if not spec.name:
                raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
            look = self._metadata if match[4] == b"metadata" else self._status
            return look(spec, call)
        shown = path[:200].decode("utf-8", "replace")
        if not path.lower().startswith(b"/v1/"):
            raise ServingError(Code.NOT_FOUND, f"Not found: {verb} {shown}")
        raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {verb} {shown}")

    async def _predict(self, spec: model_pb2.ModelSpec, body: bytes, call: _Call) -> bytes:
        def take(document: dict[str, Any]) -> tuple[Sequence[Instance], bool]:
            spec.signature_name = json_requests.signature_name(document)
            signature = self._service.signature(spec)
            check_count = self._service.limits.check_count
            return json_requests.predict_values(document, signature.inputs, check_count)

        values, rows = json_requests.read(body, take)
        call.instances, call.texts = len(values), values
        answer = await self._service.predict(spec, values)
        call.version = answer.spec.version.value
        write = partial(json_answers.predictions, answer.outputs, rows=rows)
        return await made(write, sum(array.size for array in answer.outputs.values()))

    async def _classify(self, spec: model_pb2.ModelSpec, body: bytes, call: _Call) -> bytes:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        json_requests.read(body, partial(self._fill, request, call))
        answer = await self._service.classify(request)
        call.version = answer.spec.version.value
        write = partial(json_answers.results, answer.outputs)
        return await made(write, answer.outputs["scores"].size)

    async def _regress(self, spec: model_pb2.ModelSpec, body: bytes, call: _Call) -> bytes:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        json_requests.read(body, partial(self._fill, request, call))
        return await self._service.regress(request)

    def _fill(
        self,
        request: classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest,
        call: _Call,
        document: dict[str, Any],
    ) -> None:
        request.model_spec.signature_name = json_requests.signature_name(document)
        json_requests.read_examples(document, request.input, self._service.limits)
        call.instances = len(document["examples"])
        if self._service.telemetry.log_texts:
            call.texts = _texts(request.input)

    def _status(self, spec: model_pb2.ModelSpec, call: _Call) -> bytes:
        call.method = "status"
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return json_answers.status(self._service.status(request))

    def _metadata(self, spec: model_pb2.ModelSpec, call: _Call) -> bytes:
        call.method = "metadata"
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=["signature_def"]
        )
        response = self._service.metadata(request)
        call.version = response.model_spec.version.value
        return json_answers.metadata(response)

    def _spec(self, match: re.Match[bytes], call: _Call) -> model_pb2.ModelSpec:
        name, version, label = match[1] or b"", match[2], match[3]
        spec = model_pb2.ModelSpec(name=_unquoted(name))
        if spec.name in self._models:
            call.model = spec.name
        if version is not None:
            digits = version.decode().lstrip("0") or "0"
            if len(digits) > 19 or int(digits) > _LARGEST_VERSION:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"Failed to convert version: {digits[:200]} to numeric.",
                )
            spec.version.value = int(digits)
        if label is not None:
            spec.version_label = _unquoted(label)
        return spec

    def _log_fault(self, error: Exception) -> None:
        telemetry = self._service.telemetry
        lines = traceback.format_tb(error.__traceback__)
        if telemetry.log_texts:  # the message may quote one
            lines.append(str(error))
        telemetry.event("fault", error=type(error).__name__, traceback="".join(lines))


def _unquoted(part: bytes) -> str:
    return unquote_to_bytes(part).decode("utf-8", "replace")


def _texts(source: input_pb2.Input) -> list[bytes]:
    examples = source.example_list.examples or source.example_list_with_context.examples
    return [
        text
        for example in examples
        if "text" in example.features.feature
        for text in example.features.feature["text"].bytes_list.value
    ]
