"""Parquet files as streams of rows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.decoding import arrow_batches, is_list, is_text
from tfhub_transfer.data.table import Batch, check_columns
from tfhub_transfer.errors import DataError, UnreadableFileError

_BATCH_ROWS = 8192
_BUFFER_BYTES = 1 << 20


def open_rows(
    path: Path, config: DataConfig, *, words: bool = False
) -> Callable[[], Iterator[Batch]]:
    """Check the schema of `path`, and return what streams its rows.

    Args:
        path: of the file.
        config: names its columns.
        words: whether a text is a list of words.

    Raises:
        MissingColumnError: it has no such text or label column.
        DataError: a column is of a type that holds no texts or labels.
        UnreadableFileError: it is broken, as far as it was read.
    """
    with _parquet(path) as file:
        schema = file.schema_arrow
    check_columns(schema.names, config, str(path))
    text, label = (schema.field(name).type for name in (config.text_column, config.label_column))
    if words != is_list(text) or not is_text(text.value_type if words else text):
        raise DataError(
            f"The text column {config.text_column!r} of {path} must hold "
            f"{'lists of words' if words else 'strings'}. Received: {text}"
        )
    if not _is_label(label.value_type if is_list(label) else label):
        raise DataError(
            f"The label column {config.label_column!r} of {path} must hold strings, integers, "
            f"booleans, numbers, or lists of them. Received: {label}"
        )
    return functools.partial(_read, path, config)


def _read(path: Path, config: DataConfig) -> Iterator[Batch]:
    with _parquet(path) as file:
        batches = file.iter_batches(
            batch_size=_BATCH_ROWS, columns=[config.text_column, config.label_column]
        )
        yield from arrow_batches(batches, path, config)


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[pa.parquet.ParquetFile]:
    try:
        # buffered, so that a row group is read page by page and never held whole
        with pa.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFileError(
            f"{path} is truncated, or no Parquet file. Received: {error}"
        ) from error


def _is_label(kind: pa.DataType) -> bool:
    return bool(
        is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_floating(kind)
    )
