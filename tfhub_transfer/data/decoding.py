"""Arrow's columns as Python's texts and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.table import Batch, Label
from tfhub_transfer.errors import UnreadableFileError


def arrow_batches(
    batches: Iterable[pa.RecordBatch], path: Path, config: DataConfig
) -> Iterator[Batch]:
    """Number the rows of `path`, and convert its text and label column.

    Raises:
        UnreadableFileError: a value is not UTF-8.
    """
    start = 1
    for batch in batches:
        rows = np.arange(start, start + len(batch), dtype=np.int64)
        texts = _values(batch.column(config.text_column), rows, config.text_column, path)
        labels = _values(batch.column(config.label_column), rows, config.label_column, path)
        if is_list(batch.schema.field(config.text_column).type):
            # words and their tags stay beside each other, nulls as words and tags that are empty
            texts, labels = ([_whole(value) for value in column] for column in (texts, labels))
        elif not is_text(batch.schema.field(config.label_column).type):
            labels = [_label(value) for value in labels]
        yield Batch(rows, texts, labels)
        start += len(batch)


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of this Arrow type are Python strings."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Return whether values of this Arrow type are Python lists."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def undecodable(where: str, error: UnicodeDecodeError) -> UnreadableFileError:
    """Return an error that names the first byte that is not UTF-8, and shows those around it."""
    around = error.object[max(error.start - 20, 0) : error.start + 20]
    return UnreadableFileError(
        f"{where}: not UTF-8, because of byte 0x{error.object[error.start]:02x} at position "
        f"{error.start}. Save the file as UTF-8. Received: {around!r}"
    )


def _values(column: pa.Array, rows: np.ndarray, name: str, path: Path) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        for row, value in zip(rows, column, strict=True):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise undecodable(f"{path}, row {row}, column {name!r}", error) from None
        raise


def _whole(value: Any) -> Any:
    """Return a list as one of strings, empty ones for nulls; else what `_label` returns."""
    if not isinstance(value, list):
        return _label(value)
    return ["" if item is None else str(item) for item in value]


def _label(value: Any) -> Label:
    """Return a label that is no string, or a list of labels, as strings."""
    if isinstance(value, list):
        return [str(label) for label in value if label is not None]
    # pandas writes a missing number as NaN
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return None if missing else str(value)
