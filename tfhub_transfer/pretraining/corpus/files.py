"""Text and JSONL files as streams of texts."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError
from tfhub_transfer.registry import did_you_mean

__all__ = ["COMPRESSIONS", "SUFFIXES", "kind_of", "read_texts"]

SUFFIXES = (".txt", ".jsonl")
COMPRESSIONS = (".gz", ".bz2", ".zst")

_BLOCK_BYTES = 1 << 20
# A longer line of text is cut at a space; one of JSON cannot be.
_LINE_BYTES = 4 << 20
_JSON_LINE_BYTES = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def kind_of(path: Path) -> str | None:
    """Return the suffix that says how to read a file, None if none does."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else None


def read_texts(path: Path, text_column: str) -> Iterator[tuple[list[str], int]]:
    """Yield lists of texts, and how many bytes of the file have been read by then.

    Args:
        path: a file of a known kind.
        text_column: the key of a JSON object's text.

    Raises:
        MissingColumnError: a row has no such key.
        DataError: a text is no string.
        UnreadableFileError: it cannot be read; the text says in which row.
    """
    of_json = kind_of(path) == ".jsonl"
    row = 1
    for lines, done in _lines(path, None if of_json else _LINE_BYTES):
        try:
            text = lines.decode("utf-8")
        except UnicodeDecodeError as error:
            reason = f"not UTF-8, because of byte 0x{lines[error.start]:02x}"
            raise _no_text(path, row, lines, error.start, reason) from None
        if "\0" in text:
            raise _no_text(path, row, lines, lines.index(b"\0"), "a NUL byte")
        texts = _json_texts(text, row, path, text_column) if of_json else text.split("\n")
        row += lines.count(b"\n")
        yield texts, done


def _no_text(path: Path, row: int, lines: bytes, place: int, reason: str) -> UnreadableFileError:
    """Return an error about a byte of lines that begin with a row."""
    row += lines.count(b"\n", 0, place)
    return UnreadableFileError(
        f"{path}, row {row}: {reason}, so this is binary, or text in another encoding. Expected "
        f"text in UTF-8. Received: {lines[max(place - 20, 0) : place + 20]!r}"
    )


def _json_texts(text: str, row: int, path: Path, column: str) -> list[str]:
    texts = []
    for number, line in enumerate(text.split("\n"), start=row):
        if not line or line.isspace():
            continue
        where = f"{path}, row {number}"
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UnreadableFileError(
                f"{where}: expected a JSON object on one line ({error}). Received: {line[:100]!r}"
            ) from None
        if not isinstance(found, dict):
            raise UnreadableFileError(
                f"{where}: expected a JSON object on one line. Received: {line[:100]!r}"
            )
        if column not in found:
            raise MissingColumnError(
                f"{where} has no such key.{did_you_mean(column, found)} It has: "
                f"{', '.join(found)}. Name one of them with --data.text_column. "
                f"Received: {column!r}"
            )
        value = found[column]
        if value is None:
            continue
        if not isinstance(value, str):
            raise DataError(f"{where}: a text must be a string. Received: {value!r:.100}")
        if "\\u" in line and _LONE_SURROGATE.search(value):
            raise UnreadableFileError(
                f"{where}: half of a surrogate pair is no character. Received: {line[:100]!r}"
            )
        texts.append(value)
    return texts


def _lines(path: Path, longest: int | None) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines, about a block's size together, and the place in the file after them.

    Args:
        path: of the file; a byte-order mark is left out.
        longest: cut a line that is longer at a space, or where a character ends; when not given,
            a line of more than `_JSON_LINE_BYTES` is an error.
    """
    with _opened(path) as (read, place):
        # a list, for adding to bytes again and again takes the square of a line's length
        parts: list[bytes] = []
        waiting = 0
        block = read(_BLOCK_BYTES).removeprefix(_BYTE_ORDER_MARK)
        while block:
            end = block.rfind(b"\n") + 1
            if end:
                yield b"".join([*parts, block[:end]]), place()
                parts, waiting = [], 0
            parts.append(block[end:])
            waiting += len(parts[-1])
            if longest and waiting > longest:
                line = b"".join(parts)
                end = _cut(line)
                yield line[:end], place()
                parts, waiting = [line[end:]], len(line) - end
            elif waiting > _JSON_LINE_BYTES:
                raise UnreadableFileError(
                    f"{path}: a row is longer than {_JSON_LINE_BYTES >> 20} MiB. Expected a JSON "
                    f"object on each line. Received: {parts[0][:60]!r}"
                )
            block = read(_BLOCK_BYTES)
        if waiting:
            yield b"".join(parts), place()


def _cut(line: bytes) -> int:
    """Return where to cut a long line: after its last space, or else where a character ends."""
    if end := line.rfind(b" ") + 1:
        return end
    end = len(line)
    while end > 1 and line[end - 1] & 0xC0 == 0x80:  # goes on with a character
        end -= 1
    return max(end - 1, 1)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Callable[[int], bytes], Callable[[], int]]]:
    """Yield what reads so many bytes, decompressed, and what tells the place in the file."""
    compressed = path.suffix.lower() in COMPRESSIONS
    try:
        with contextlib.ExitStack() as stack:
            file = stream = stack.enter_context(pa.OSFile(str(path)))
            if compressed:
                codec = pa.Codec.detect(path.name.lower()).name
                stream = stack.enter_context(pa.CompressedInputStream(file, codec))
            yield stream.read, file.tell
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read. Received: {error}") from error
