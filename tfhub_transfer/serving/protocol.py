"""HTTP/1.1 as uvicorn speaks it, with bounds on a request's head, and its errors in JSON."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 64 * 2**10  # bytes of a request's line and headers
HEAD_SECONDS = 20.0  # for a client to send them


class _HeadTooLong(Exception):
    """Ends the parsing."""


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    A head is refused when it is too long, and a connection is closed on which none is complete in
    time; once it is, `--rest_api_timeout_in_ms` holds. Between two requests uvicorn closes a
    connection that is idle.
    """

    _timer: asyncio.TimerHandle | None = None
    _progress = False  # whether what was received last completed a head, or had some of a body
    _unparsed = 0  # bytes received without any
    _too_long = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Be called by the event loop."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be called by the event loop."""
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Be called by the event loop."""
        self._progress = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._unparsed = 0 if self._progress else self._unparsed + len(data)
        if self._unparsed > LONGEST_HEAD:  # of a head, or of the trailers after a body
            self._too_long = True
            self.send_400_response("")
        # Where an answer was given already, this is the next head, or a body that nobody reads.
        elif self.cycle is None or self.cycle.response_complete:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """Be called by the parser."""
        self._progress = True
        self._forget_timer()
        headers = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.url) + headers > LONGEST_HEAD:
            self._too_long = True
            raise _HeadTooLong
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Be called by the parser, for each part."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Be called by the parser."""
        self._progress = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and close; called by uvicorn too, with its own words."""
        status = HTTPStatus.BAD_REQUEST
        if self._too_long:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            msg = f"A request's line and headers take at most {LONGEST_HEAD} bytes. Received: more"
        body = orjson.dumps({"error": msg})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: application/json\r\n"
            f"x-content-type-options: nosniff\r\n"
            f"content-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n"
        )
        self._forget_timer()
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
