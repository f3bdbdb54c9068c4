"""A long array in a JSON file, an element at a time."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tfhub_transfer.data.decoding import undecodable
from tfhub_transfer.errors import UnreadableFileError

__all__ = ["elements"]

_BLOCK = 1 << 20
_SHOWN = 60
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_IN_NUMBERS = "0123456789.eE+-"


def elements(path: Path, key: str) -> Iterator[Any]:
    """Yield the elements of the array that stands under `key` in the object that a file holds.

    One element is in memory at a time, and about a megabyte of text. The rest of the file is
    parsed too, and so a file that was cut off is always noticed.

    Args:
        path: a JSON file (RFC 8259), maybe compressed.
        key: of its outermost object.

    Raises:
        UnreadableFileError: it is no such file; the text says in which line and which element.
    """
    try:
        with pa.input_stream(path, compression="detect") as stream:
            yield from _elements(_Text(path, io.TextIOWrapper(stream, "utf-8-sig")), key)
    except UnicodeDecodeError as error:
        raise undecodable(str(path), error) from None
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read. Received: {error}") from error


def _elements(text: _Text, key: str) -> Iterator[Any]:
    text.take("{", f'an object with the key "{key}"')
    found = False
    more = text.peek() != "}"
    while more:
        name = text.value("a key")
        if not isinstance(name, str):
            raise text.broken("a key in double quotes")
        text.take(":", "a colon after the key")
        if name == key and not found:
            found = True
            yield from _array(text, key)
        else:
            text.value(name)
        more = text.peek() == ","
        if more:
            text.take(",", "a comma")
    text.take("}", 'a comma or "}"')
    if text.peek():
        raise text.broken("nothing after the outermost object")
    if not found:
        raise UnreadableFileError(
            f'{text.path}: the outermost object should have the key "{key}", with an array under '
            f"it. Received: an object without it"
        )


def _array(text: _Text, key: str) -> Iterator[Any]:
    text.take("[", f'an array under "{key}"')
    if text.peek() != "]":
        index = 0
        yield text.value(f"{key}[{index}]")
        while text.peek() == ",":
            text.take(",", "a comma")
            index += 1
            yield text.value(f"{key}[{index}]")
    text.take("]", f'a comma or "]" after an element of "{key}"')


class _Text:
    """A file's text, of which that part is in memory that is being parsed.

    Args:
        path: of the file, for error texts.
        stream: the text.
    """

    def __init__(self, path: Path, stream: io.TextIOBase):
        self.path = path
        self._stream = stream
        self._rest = ""
        self._at = 0
        self._line = 1  # of the first character of the rest

    def peek(self) -> str:
        """Return the next character that is no white space; nothing at the end of the file."""
        while True:
            space = _SPACE.match(self._rest, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._rest):
                return self._rest[self._at]
            if not self._more():
                return ""

    def take(self, character: str, expected: str) -> None:
        """Go past `character`, which has to be next."""
        if self.peek() != character:
            raise self.broken(expected)
        self._at += 1

    def value(self, where: str) -> Any:
        """Return the JSON value that is next."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._rest, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                found = isinstance(error, json.JSONDecodeError)
                reason, ahead = (error.msg, error.pos - self._at) if found else (str(error), 0)
                # what is cut off at the end of a block looks broken, until there is more of it
                if self._more():
                    continue
                self._at += ahead
                raise self.broken(f"JSON ({reason})", where) from None
            # 5 may go on, as 5.2e+3
            tail = self._rest[end : end + 3]
            if len(tail) < 3 and not tail.strip(_IN_NUMBERS) and self._more():
                continue
            self._at = end
            return value

    def broken(self, expected: str, where: str | None = None) -> UnreadableFileError:
        """Return an error that says what should stand here."""
        line = self._line + self._rest.count("\n", 0, self._at)
        shown = self._rest[self._at : self._at + _SHOWN]
        received = repr(shown) if shown else "the end of the file"
        return UnreadableFileError(
            f"{self.path}, line {line}{f', {where}' if where else ''}: expected {expected}. "
            f"Received: {received}"
        )

    def _more(self) -> bool:
        """Read on, as much again as is there, so that a long element is parsed a few times only."""
        self._line += self._rest.count("\n", 0, self._at)
        rest = self._rest[self._at :]
        added = self._stream.read(max(_BLOCK, len(rest)))
        self._rest, self._at = rest + added, 0
        return bool(added)
