"""Instances of a request: one string each, or where the model has several inputs one for each."""

from __future__ import annotations

from collections.abc import Sequence

from tfhub_transfer.artifact.predictor import Instance
from tfhub_transfer.serving.status import Code, ServingError

__all__ = ["from_columns", "readable", "size_of"]


def from_columns(inputs: Sequence[str], columns: Sequence[Sequence[bytes]]) -> Sequence[Instance]:
    """Return the instances whose strings stand in one column for each input.

    Args:
        inputs: their aliases.
        columns: of each input, the strings of all instances.

    Raises:
        ServingError: the columns have different lengths, told as TF Serving's
            batching/batching_session.cc does.
    """
    if len(columns) == 1:
        return columns[0]
    if len({len(column) for column in columns}) > 1:
        received = zip(inputs, columns, strict=True)
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Batching session Run() input tensors must have equal 0th-dimension size. Received: "
            f"{', '.join(f'{len(column)} of {name}' for name, column in received)}",
            quotes_no_text=True,
        )
    return list(zip(*columns, strict=True))


def size_of(instance: Instance) -> int:
    """Return the bytes of an instance, of all its strings together."""
    return len(instance) if isinstance(instance, bytes) else sum(map(len, instance))


def readable(instance: Instance) -> str | list[str]:
    """Return an instance as a log shows it."""
    if isinstance(instance, bytes):
        return instance.decode("utf-8", "replace")
    return [part.decode("utf-8", "replace") for part in instance]
