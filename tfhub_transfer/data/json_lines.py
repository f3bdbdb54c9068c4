"""JSONL files as streams of rows.

Lines are parsed by the standard library: pyarrow's reader settles a column's type on the first
block, refuses a number where it saw a string, and turns texts that look like dates into dates.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.decoding import undecodable
from tfhub_transfer.data.table import Batch, Label, check_columns
from tfhub_transfer.errors import DataError, UnreadableFileError

_BLOCK_BYTES = 1 << 20
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def open_rows(
    path: Path, config: DataConfig, *, words: bool = False
) -> Callable[[], Iterator[Batch]]:
    """Check the keys in the first block of `path`, and return what streams its rows.

    Args:
        path: of the file.
        config: names its keys.
        words: whether a text is a list of words.

    Raises:
        MissingColumnError: none of these rows has such a text or label.
        DataError: it has no rows.
        UnreadableFileError: it is broken, as far as it was read.
    """
    keys = {key: None for _, found in next(_objects(path), []) for key in found}
    if not keys:
        raise DataError(f"{path} has no rows: expected one JSON object on each line.")
    check_columns(keys, config, str(path))
    return functools.partial(_read, path, config, _words if words else _text)


def _read(
    path: Path, config: DataConfig, read_text: Callable[[Any, int, Path], Any]
) -> Iterator[Batch]:
    for objects in _objects(path):
        rows = np.array([row for row, _ in objects], np.int64)
        texts = [read_text(found.get(config.text_column), row, path) for row, found in objects]
        labels = [_label(found.get(config.label_column), row, path) for row, found in objects]
        yield Batch(rows, texts, labels)


def _objects(path: Path) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield lists of (line number, object), skipping blank lines."""
    number = 0
    for lines in line_blocks(path):
        objects = []
        for line in lines:
            number += 1
            if line.strip():
                objects.append((number, _parse(line, number, path)))
        if objects:
            yield objects


def _parse(line: bytes, row: int, path: Path) -> dict[str, Any]:
    """Return the object on one line; its numbers are strings, as they are written."""
    try:
        found = _DECODER.decode(line.decode("utf-8"))
        if b"\\u" in line:
            # half a surrogate pair can be escaped in JSON, but is no character
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise undecodable(f"{path}, row {row}", error) from None
    except UnicodeEncodeError as error:
        raise UnreadableFileError(
            f"{path}, row {row}: half of a surrogate pair is no character. "
            f"Received: \\u{ord(error.object[error.start]):04x}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(
            f"{path}, row {row}: expected a JSON object on one line ({error}). "
            f"Received: {line[:100]!r}"
        ) from None
    if not isinstance(found, dict):
        raise UnreadableFileError(
            f"{path}, row {row}: expected a JSON object on one line. Received: {line[:100]!r}"
        )
    return found


def line_blocks(path: Path) -> Iterator[list[bytes]]:
    """Yield lists of whole lines, about a block's size together, without a byte-order mark.

    Raises:
        UnreadableFileError: the file cannot be read, or not be decompressed.
    """
    try:
        with pa.input_stream(path, compression="detect") as stream:
            first = stream.read(len(_BYTE_ORDER_MARK))
            rest = b"" if first == _BYTE_ORDER_MARK else first
            while block := stream.read(_BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                yield lines
            if rest:
                yield rest.split(b"\n")  # of a file as short as the mark, it may be several lines
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read. Received: {error}") from error


def _text(value: Any, row: int, path: Path) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{path}, row {row}: a text must be a string. Received: {value!r:.100}")


def _words(value: Any, row: int, path: Path) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise DataError(f"{path}, row {row}: words must be a list of strings. Received: {value!r:.100}")


def _label(value: Any, row: int, path: Path) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list) and all(isinstance(label, str | bool) for label in value):
        return [label if isinstance(label, str) else json.dumps(label) for label in value]
    raise DataError(
        f"{path}, row {row}: a label must be a string, a number, a boolean, or a list of them. "
        f"Received: {value!r:.100}"
    )
