"""The body of a request, read within its limit; compressed by gzip or not."""

from __future__ import annotations

import zlib

from starlette.types import Receive, Scope

from tfhub_transfer.serving.status import Code, ServingError

__all__ = ["BodyError", "Disconnected", "read_body"]

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way of saying: with gzip's header and checksum


class BodyError(ServingError):
    """A body that is refused with a status of HTTP's own.

    Attributes:
        status: 413 or 415.
    """

    def __init__(self, status: int, message: str):
        super().__init__(Code.INVALID_ARGUMENT, message, quotes_no_text=status == 413)
        self.status = status


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read a request's body.

    What is left of a refused one, the server discards while it arrives.

    Args:
        scope: the request's.
        receive: ASGI's.
        limit: in bytes, as sent and as decompressed.

    Raises:
        BodyError: it is longer, or encoded in a way that is not known.
        Disconnected: the client went before it was complete.
        ServingError: it is no valid gzip.
    """
    compressed = False
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit, f"{int(value)} bytes")
        if name == b"content-encoding":
            compressed = _is_gzip(value)
    body = await _read(receive, limit)
    return _decompressed(body, limit) if compressed else body


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body: bytes = message.get("body", b"")
        size += len(body)
        if size > limit:
            raise _too_large(limit, f"more than {limit} bytes")
        if not chunks and not message.get("more_body", False):
            return body
        chunks.append(body)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _is_gzip(encoding: bytes) -> bool:
    name = encoding.strip().lower()
    if name not in {b"gzip", b"x-gzip", b"identity", b""}:
        raise BodyError(
            415,
            f"Content-Encoding must be gzip or identity. "
            f"Received: {encoding[:100].decode('latin-1')}",
        )
    return name.endswith(b"gzip")


def _decompressed(body: bytes, limit: int) -> bytes:
    decoder = zlib.decompressobj(_GZIP)
    try:
        content = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"The body is no valid gzip. Received: {error}",
            quotes_no_text=True,
        ) from None
    if len(content) > limit:
        raise _too_large(limit, f"more than {limit} bytes, decompressed")
    if not decoder.eof or decoder.unused_data:
        cut = "data after its end" if decoder.eof else "an incomplete stream"
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"The body is no valid gzip. Received: {cut}",
            quotes_no_text=True,
        )
    return content


def _too_large(limit: int, received: str) -> BodyError:
    return BodyError(413, f"A request's body takes at most {limit} bytes. Received: {received}")
