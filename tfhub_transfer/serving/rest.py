"""The REST server as one ASGI application: TensorFlow Serving's API, and the pages around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tensorflow_serving.apis import get_model_status_pb2

from tfhub_transfer.serving import json_answers, page
from tfhub_transfer.serving.rest_api import RestApi
from tfhub_transfer.serving.status import ServingError

if TYPE_CHECKING:
    from tfhub_transfer.serving.service import Service

__all__ = ["application"]


def application(service: Service) -> Starlette:
    """Return the ASGI application that answers for `service`.

    - `/v1/models/...`: TensorFlow Serving's REST API;
    - `/`: a page to try the models on;
    - `/metrics`: for Prometheus;
    - `/healthz`: 200 as long as the process answers at all;
    - `/readyz`: 200 when every model has a version to answer with, else 503 with what is missing.

    Every error is JSON, `{"error": "..."}`.
    """
    trial = page.render(service.model_names, service.limits)

    async def front(request: Request) -> Response:
        return Response(trial.html, media_type="text/html", headers=trial.headers)

    async def metrics(request: Request) -> Response:
        body, content_type = service.telemetry.exposition()
        return Response(body, headers={"content-type": content_type})

    async def healthz(request: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def readyz(request: Request) -> Response:
        if service.ready:
            return Response(b'{"status":"ready"}', media_type="application/json")
        return _error_response(503, _unready(service))

    api = RestApi(service)
    app = Starlette(
        routes=[
            Route("/v1/{path:path}", api),
            Route("/", front),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        middleware=[Middleware(_CloseWhenDue, service=service)],
        exception_handlers={HTTPException: _wrong_method},
    )
    app.router.redirect_slashes = False
    # TF Serving answers at /V1/Models too; what is not its own either is told from there.
    app.router.default = api
    return app


class _CloseWhenDue:
    """Asks clients to connect anew for their next request.

    When this server stops, that is elsewhere. And a client that asked for "100 Continue" and gets
    an answer instead may send its body yet or not, so that nobody knows where its next request is.
    """

    def __init__(self, app: ASGIApp, service: Service):
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        withheld = any(name == b"expect" for name, _ in scope["headers"])

        async def receive_withheld() -> Message:
            nonlocal withheld
            withheld = False
            return await receive()

        async def send_closing(message: Message) -> None:
            closing = withheld or self._service.draining
            if closing and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive_withheld if withheld else receive, send_closing)


def _unready(service: Service) -> str:
    if service.draining:
        return "Not ready: the server is stopping"
    missing = []
    for name in service.model_names:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            states = service.status(request).model_version_status
        except ServingError:
            states = []
        if not any(
            each.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE for each in states
        ):
            missing.append(name)
    return f"Not ready: no version is available of {', '.join(missing)}"


async def _wrong_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _error_response(
        error.status_code, f"{error.detail}: {request.method} {request.url.path}"
    )
    response.headers.update(error.headers or {})
    return response


def _error_response(status: int, message: str) -> Response:
    return Response(json_answers.error(message), status, media_type="application/json")
