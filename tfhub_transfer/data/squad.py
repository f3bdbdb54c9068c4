"""SQuAD's JSON files, of version 1.1 and 2, as streams of passages.

Rajpurkar et al. 2016 (arXiv 1606.05250); 2018 (arXiv 1806.03822), which adds questions that the
context does not answer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfhub_transfer.data.json_stream import elements
from tfhub_transfer.data.passages import Answer, Passage, PassageTable, Question
from tfhub_transfer.errors import UnreadableFileError

__all__ = ["CONTRADICTION", "SUFFIX", "open_file"]

SUFFIX = ".json"
CONTRADICTION = "is_impossible, and yet with an answer"
_FORGOTTEN = "not is_impossible, and yet without an answer"

_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    list: "an array",
    bool: "true or false",
}


def open_file(path: Path) -> PassageTable:
    """Return the paragraphs of a file, each with its questions.

    One article of the file (an element of `data`) is in memory at a time.

    Reading raises:
        UnreadableFileError: the file is broken or has other keys; the text says where.
    """
    return PassageTable(str(path), functools.partial(_read, path))


def _read(path: Path) -> Iterator[Passage]:
    for number, article in enumerate(elements(path, "data")):
        at = _Place(path, f"data[{number}]", article)
        for paragraph in at.items("paragraphs"):
            context = paragraph.text("context")
            yield Passage(context, tuple(map(_question, paragraph.items("qas"))))


def _question(at: _Place) -> Question:
    told = at.has("is_impossible")
    impossible = at.get("is_impossible", bool) if told else False
    # some files leave the answers out where there are none
    items = at.items("answers") if at.has("answers") or not impossible else []
    answers = tuple(Answer(item.text("text"), item.get("answer_start", int)) for item in items)
    problem = CONTRADICTION if impossible and answers else None
    if told and not impossible and not answers:
        problem = _FORGOTTEN
    key = at.found.get("id")
    return Question(
        str(key) if type(key) is int else at.text("id"),
        at.text("question"),
        answers,
        problem=problem,
    )


class _Place:
    """An object in the file, and the way there, for error texts."""

    def __init__(self, path: Path, where: str, found: Any):
        self._path, self._where = path, where
        if not isinstance(found, dict):
            raise UnreadableFileError(
                f"{path}, {where}: expected an object. Received: {found!r:.80}"
            )
        self.found: dict[str, Any] = found

    def has(self, key: str) -> bool:
        return key in self.found

    def get(self, key: str, kind: type) -> Any:
        """Return what stands under `key`, which must be of that kind."""
        if key not in self.found:
            raise UnreadableFileError(
                f"{self._path}, {self._where}: the key {key!r} is missing, with "
                f"{_NAMES[kind]} under it. Received: keys {', '.join(self.found) or 'none'}"
            )
        value = self.found[key]
        if type(value) is not kind:
            raise UnreadableFileError(
                f"{self._path}, {self._where}.{key}: expected {_NAMES[kind]}. "
                f"Received: {value!r:.80}"
            )
        return value

    def text(self, key: str) -> str:
        """Return the string under `key`."""
        value: str = self.get(key, str)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            # half a surrogate pair can be escaped in JSON, but is no character
            raise UnreadableFileError(
                f"{self._path}, {self._where}.{key}: half of a surrogate pair is no character. "
                f"Received: \\u{ord(value[error.start]):04x}"
            ) from None
        return value

    def items(self, key: str) -> list[_Place]:
        """Return the objects in the array under `key`."""
        return [
            _Place(self._path, f"{self._where}.{key}[{index}]", found)
            for index, found in enumerate(self.get(key, list))
        ]
