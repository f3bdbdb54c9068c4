"""Unlabelled text to predict on: plain lines, CSV, TSV or JSONL, in a stream."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TextIO

from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Format = Literal["lines", "csv", "tsv", "jsonl"]

FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".txt": "lines"}


def read_records(
    stream: TextIO, format: Format, text_column: str, name: str
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each record and its text; see `read_columns`."""
    columns = {"text_column": text_column}
    for record, (text,) in read_columns(stream, format, columns, name):
        yield record, text


def read_columns(
    stream: TextIO, format: Format, columns: Mapping[str, str], name: str
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield each record and its texts, one of each column.

    Args:
        stream: read once, a line or a row at a time.
        format: `lines` takes each line as a text; the others have columns of texts.
        columns: their names by the setting that names them; that of lines is `text`.
        name: of the file, for error texts.

    Raises:
        MissingColumnError: there is no column of such a name.
        UnreadableFileError: a row cannot be decoded or parsed; the text says which.
    """
    row = 0
    try:
        for row, record in enumerate(_records(stream, format, name), start=1):
            yield record, [
                _text(record, column, setting, name, row)
                for setting, column in columns.items()
            ]
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{name} is not UTF-8 after row {row}: {error.reason}. "
            f"Received: byte 0x{error.object[error.start]:02x}"
        ) from error
    except csv.Error as error:
        raise UnreadableFileError(f"{name}, after row {row}: {error}") from error


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _text(record: dict[str, Any], column: str, setting: str, name: str, row: int) -> str:
    if column not in record:
        raise MissingColumnError(
            f"{name} has no column {column!r} in row {row}. Give --{setting}. "
            f"Accepted: {', '.join(map(repr, record))}. Received: {column!r}"
        )
    text, what = record[column], setting.removesuffix("_column")
    if not isinstance(text, str):
        raise DataError(f"{name}, row {row}: the {what} should be a string. Received: {text!r}")
    if _LONE_SURROGATE.search(text):
        raise UnreadableFileError(
            f"{name}, row {row}: the {what} has half a surrogate pair, which is no character. "
            f"Received: {text[:60]!a}"
        )
    return text


def _records(stream: TextIO, format: Format, name: str) -> Iterator[dict[str, Any]]:
    if format == "lines":
        for line in stream:
            yield {"text": line.rstrip("\r\n")}
    elif format == "jsonl":
        for row, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UnreadableFileError(
                    f"{name}, row {row} is no JSON ({error.msg}, column {error.colno}). "
                    f"Received: {line[:60]!r}"
                ) from error
            if not isinstance(record, dict):
                raise UnreadableFileError(
                    f"{name}, row {row}: each line should be a JSON object. "
                    f"Received: {line[:60]!r}"
                )
            yield record
    else:
        rows = csv.DictReader(stream, delimiter="\t" if format == "tsv" else ",", strict=True)
        for row, record in enumerate(rows, start=1):
            # csv gives what is too much under None, and None for what is missing
            if None in record or None in record.values():
                raise UnreadableFileError(
                    f"{name}, row {row} has not as many cells as the header, which has "
                    f"{len(rows.fieldnames or ())}. Received: {list(record.values())}"[:300]
                )
            yield record
