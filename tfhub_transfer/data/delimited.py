"""CSV and TSV files as streams of rows.

Values are passed on as they are written: a label `007` stays `007`, and the text `NA` stays a text.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.decoding import arrow_batches, undecodable
from tfhub_transfer.data.table import Batch, check_columns
from tfhub_transfer.errors import DataError, UnreadableFileError

# A row must fit into a block. pyarrow reads dozens of blocks ahead, so they are small as long as
# no row asks for a large one.
_BLOCK_BYTES = 256 << 10
_LARGE_BLOCK_BYTES = 16 << 20

_MALFORMED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)


def open_rows(path: Path, config: DataConfig, delimiter: str) -> Callable[[], Iterator[Batch]]:
    """Check the header of `path`, and return what streams its rows.

    Raises:
        MissingColumnError: it has no such text or label column.
        DataError: it has no rows.
        UnreadableFileError: it is broken, as far as it was read.
    """
    with contextlib.closing(_record_batches(path, delimiter, None)) as batches:
        try:
            first = next(batches, None)
            header = first.schema.names if first else []
        except UnicodeDecodeError as error:
            raise undecodable(f"{path}, header", error) from None
    if not header:
        raise _without_rows(path)
    check_columns(header, config, str(path))
    return functools.partial(_read, path, config, delimiter)


def _read(path: Path, config: DataConfig, delimiter: str) -> Iterator[Batch]:
    columns = [config.text_column, config.label_column]
    return arrow_batches(_record_batches(path, delimiter, columns), path, config)


def _record_batches(
    path: Path, delimiter: str, columns: list[str] | None
) -> Generator[pa.RecordBatch, None, None]:
    """Yield `columns` as strings, or all of them as pyarrow guesses their types."""
    done = 0
    for block_bytes in (_BLOCK_BYTES, _LARGE_BLOCK_BYTES):
        read = 0
        try:
            with pa.csv.open_csv(
                path,
                # on one thread, pyarrow tells the number of a malformed row
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=block_bytes),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(columns or (), pa.string()),
                    include_columns=columns,
                    strings_can_be_null=False,
                    # where values become Python strings, one that is not UTF-8 has a row number
                    check_utf8=False,
                ),
            ) as reader:
                for batch in reader:
                    read += len(batch)
                    if read > done:
                        yield batch.slice(max(len(batch) - (read - done), 0))
                        done = read
            return
        except (pa.ArrowInvalid, OSError) as error:
            if "straddling" in str(error) and block_bytes < _LARGE_BLOCK_BYTES:
                continue  # from the start, past the rows that were read
            raise _explained(error, path) from error


def _explained(error: Exception, path: Path) -> DataError:
    if malformed := _MALFORMED.search(str(error)):
        row, expected, found, text = malformed.groups()
        # pyarrow counts the header as a row
        return UnreadableFileError(
            f"{path}, row {int(row) - 1}: expected {expected} columns, as in the header, and found "
            f"{found}. A value that contains the delimiter, a double quote or a line break must be "
            f"in double quotes. Received: {text[:100]!r}"
        )
    if "straddling" in str(error):
        return UnreadableFileError(
            f"{path}: a row is longer than {_LARGE_BLOCK_BYTES >> 20} MiB. A double quote that is "
            f"never closed makes one value of the rest of a file. Received: {error}"
        )
    if "Empty CSV" in str(error):
        return _without_rows(path)
    return UnreadableFileError(f"{path} cannot be read. Received: {error}")


def _without_rows(path: Path) -> DataError:
    return DataError(f"{path} has no rows: expected a header, and rows below it.")
