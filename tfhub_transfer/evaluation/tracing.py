"""Many models in one process, without TensorFlow's advice on it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["quiet_tracing"]


@contextlib.contextmanager
def quiet_tracing() -> Iterator[None]:
    """Keep back TensorFlow's advice on functions that are traced again: each model is another."""
    logger = logging.getLogger("tensorflow")

    def other(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)
