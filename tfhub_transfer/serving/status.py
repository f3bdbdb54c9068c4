"""What a refused request is answered with, in gRPC's and in HTTP's terms."""

from __future__ import annotations

import enum

from tfhub_transfer.errors import TransferError


class Code(enum.Enum):
    """gRPC's status codes: names and numbers of `google/rpc/code.proto`, which TensorFlow shares.

    `grpc.StatusCode` has the same names; `tf.errors.OpError.error_code` has the same numbers.
    """

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# As ToHTTPStatusCode of TF Serving's model_servers/http_server.cc.
HTTP_STATUS: dict[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(TransferError):
    """A request that the server refuses.

    Attributes:
        code: why, in one word.
        message: why, in TF Serving's own words where it refuses the same.
        quotes_no_text: whether the message may be logged, since nothing in it is a client's.
    """

    def __init__(self, code: Code, message: str, *, quotes_no_text: bool = False):
        super().__init__(message)
        self.code = code
        self.message = message
        self.quotes_no_text = quotes_no_text
