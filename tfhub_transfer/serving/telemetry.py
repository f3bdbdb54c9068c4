"""What the server tells its operators: counters for Prometheus, and a log of JSON lines.

A request costs two cached counters, one JSON line and one write. The texts of clients stay out of
the log unless asked for; so do error messages that may quote one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import IO

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tfhub_transfer.artifact.predictor import Instance
from tfhub_transfer.serving.instances import readable

__all__ = ["Telemetry"]

# Seconds; a static embedding answers in one or two milliseconds, a transformer in tens.
_LATENCY_BUCKETS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# Messages of the other codes may quote what a client sent: the JSON reader quotes the value that
# it cannot take, and so do TensorFlow's ops.
_QUOTES_NO_TEXT = frozenset(
    {
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "FAILED_PRECONDITION",
        "NOT_FOUND",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
    }
)
_SERVER_FAULTS = frozenset({"DATA_LOSS", "INTERNAL", "UNIMPLEMENTED", "UNKNOWN"})


class Telemetry:
    """Counts and logs, for both APIs; safe to share between threads."""

    def __init__(self, *, log_texts: bool = False, stream: IO[str] | None = None):
        """Begin with all counters at zero.

        Args:
            log_texts: write clients' texts, and messages that may quote them, into the log.
            stream: where the log goes; standard error when not given.
        """
        self.log_texts = log_texts
        self._stream = sys.stderr if stream is None else stream
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._requests = Counter(
            "tfhub_transfer_requests",
            "Requests answered, by gRPC status code.",
            ("api", "method", "model", "code"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "tfhub_transfer_request_seconds",
            "Time from a request's arrival to its answer.",
            ("api", "method", "model"),
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._batch_size = Histogram(
            "tfhub_transfer_batch_size",
            "Instances that the model was run on together.",
            ("model",),
            buckets=_SIZE_BUCKETS,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "tfhub_transfer_batch_seconds",
            "Time that the model took for a batch.",
            ("model",),
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._version = Gauge(
            "tfhub_transfer_model_version",
            "The latest version that is available; 0 where there is none.",
            ("model",),
            registry=self._registry,
        )
        self._failed_loads = Counter(
            "tfhub_transfer_failed_loads",
            "Attempts at loading a version that failed.",
            ("model",),
            registry=self._registry,
        )
        self._lost_lines = Counter(
            "tfhub_transfer_log_lines_lost",
            "Log lines that could not be written.",
            registry=self._registry,
        )
        # `labels()` takes a lock and builds a key; these are looked up with one dictionary access.
        self._request_children: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}
        self._batch_children: dict[str, tuple[Histogram, Histogram]] = {}

    def request(
        self,
        *,
        api: str,
        method: str,
        model: str,
        code: str,
        seconds: float,
        instances: int = 0,
        version: int | None = None,
        texts: Sequence[Instance] = (),
        error: str | None = None,
        quotes_no_text: bool = False,
    ) -> None:
        """Count and log a request that was answered.

        Args:
            api: `rest` or `grpc`.
            method: as `predict`; one of a fixed set, since it is a label.
            model: its name, or "" where the client named one that is not served: every value of a
                label is kept forever.
            code: a gRPC status name.
            seconds: from arrival to answer.
            instances: how many texts were asked about.
            version: which answered.
            texts: are written only with `log_texts`.
            error: the message; written where it cannot quote a text, or with `log_texts`.
            quotes_no_text: whether the message is known to quote none; codes tell for some.
        """
        key = (api, method, model, code)
        children = self._request_children.get(key)
        if children is None:
            children = (self._requests.labels(*key), self._latency.labels(*key[:3]))
            self._request_children[key] = children
        children[0].inc()
        children[1].observe(seconds)
        fields: dict[str, object] = {
            "api": api,
            "method": method,
            "model": model,
            "code": code,
            "milliseconds": round(seconds * 1000, 3),
            "instances": instances,
        }
        if version is not None:
            fields["version"] = version
        loggable = quotes_no_text or self.log_texts or code in _QUOTES_NO_TEXT
        if error is not None and loggable:
            fields["error"] = error
        if self.log_texts and texts:
            fields["texts"] = [readable(text) for text in texts]
        self._write("error" if code in _SERVER_FAULTS else "info", "request", fields)

    def batch(self, *, model: str, size: int, seconds: float) -> None:
        """Count a run of the model on `size` instances together."""
        children = self._batch_children.get(model)
        if children is None:
            children = (self._batch_size.labels(model), self._batch_seconds.labels(model))
            self._batch_children[model] = children
        children[0].observe(size)
        children[1].observe(seconds)

    def serving(self, *, model: str, version: int) -> None:
        """Tell which version of a model is the latest available; 0 for none."""
        self._version.labels(model).set(version)

    def failed(self, *, model: str, **fields: object) -> None:
        """Count and log an attempt at loading a version that failed."""
        self._failed_loads.labels(model).inc()
        self.event("version_failed", model=model, **fields)

    def event(self, event: str, **fields: object) -> None:
        """Log something other than a request, as `version_available`.

        Its level is the field `level`, or else `error` where there is a field of that name.
        """
        level = fields.pop("level", "error" if "error" in fields else "info")
        self._write(str(level).lower(), event, fields)

    def exposition(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        record = {"time": now, "level": level, "event": event, **fields}
        line = orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
        try:
            # One write a line, so that lines of several threads stay whole.
            self._stream.write(line.decode())
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read the log has gone, or the disk is full; requests are answered anyway.
            self._lost_lines.inc()
