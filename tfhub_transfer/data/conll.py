"""Files of columns, as the CoNLL shared tasks have them: a word and its tags on each line.

A blank line ends a sentence. Columns stand between tabs, if there is one in the first line with a
word, else between any spaces. `-DOCSTART-` lines and comments (`# ...`) are left out; a line that
begins with `# `, has all columns and a tag among them is the word `#`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.decoding import undecodable
from tfhub_transfer.data.json_lines import line_blocks
from tfhub_transfer.data.schemes import problem
from tfhub_transfer.data.table import Batch
from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError
from tfhub_transfer.registry import did_you_mean

__all__ = ["open_rows"]

_BATCH_SENTENCES = 1024
_NUMBER = re.compile(r"[+-]?\d+")
_FIELD = re.compile(r"[^ \t]+")
_SHOWN = 100


class _Layout(NamedTuple):
    """Where in a line the word and its tag stand.

    Attributes:
        tabs: whether columns stand between tabs.
        count: the number of columns.
        word: the column of the words.
        tag: the column of their tags.
        first: the number of the first line with a word.
    """

    tabs: bool
    count: int
    word: int
    tag: int
    first: int


def open_rows(path: Path, config: DataConfig) -> Callable[[], Iterator[Batch]]:
    """Look at the first word of `path`, and return what streams its sentences.

    A sentence's row number is that of the line it begins in. `config.text_column` and
    `config.label_column` are numbers of columns, from 0, or from the last with -1; or names, that a
    comment above the first word gives to all columns: `# word pos chunk tag`. Where no column has
    their default name, they are the first and the last column.

    Raises:
        MissingColumnError: it has no such column.
        DataError: it has no words.
        UnreadableFileError: it is broken, as far as it was read. Reading on may raise it, too.
    """
    return functools.partial(_read, path, config.scheme, _layout(path, config))


def _read(path: Path, scheme: str, layout: _Layout) -> Iterator[Batch]:
    rows: list[int] = []
    texts: list[list[str]] = []
    labels: list[list[str]] = []
    for row, words, tags in _sentences(path, scheme, layout):
        rows.append(row)
        texts.append(words)
        labels.append(tags)
        if len(rows) == _BATCH_SENTENCES:
            yield Batch(np.array(rows, np.int64), list(texts), list(labels))
            rows, texts, labels = [], [], []
    if rows:
        yield Batch(np.array(rows, np.int64), list(texts), list(labels))


def _sentences(
    path: Path, scheme: str, layout: _Layout
) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield for each sentence the line it begins in, its words and their tags."""
    begins, words, tags = 0, [], []
    for number, line in _lines(path):
        if _between(line):
            if words:
                yield begins, words, tags
                words, tags = [], []
            continue
        fields = _fields(line, layout.tabs)
        whole = len(fields) == layout.count
        if line.startswith("# ") and not (whole and not problem(fields[layout.tag], scheme)):
            continue
        if not whole:
            raise UnreadableFileError(
                f"{path}, line {number}: expected {layout.count} columns between "
                f"{'tabs' if layout.tabs else 'spaces'}, as in line {layout.first}, and found "
                f"{len(fields)}. Received: {line[:_SHOWN]!r}"
            )
        if not fields[layout.word]:
            raise UnreadableFileError(
                f"{path}, line {number}: the word in column {layout.word} is empty. "
                f"Received: {line[:_SHOWN]!r}"
            )
        if why := problem(fields[layout.tag], scheme):
            raise UnreadableFileError(
                f"{path}, line {number}: column {layout.tag} should hold the word's tag, and {why}."
                f" Is --data.label_column right? Received: {line[:_SHOWN]!r}"
            )
        if not words:
            begins = number
        words.append(fields[layout.word])
        tags.append(fields[layout.tag])
    if words:
        yield begins, words, tags


def _layout(path: Path, config: DataConfig) -> _Layout:
    """Read up to the first word, and find the columns that were asked for."""
    comments: list[list[str]] = []
    number = 0
    for number, line in _lines(path):
        if _between(line):
            continue
        fields = _fields(line, tabs="\t" in line)
        # the word `#` begins with a comment's sign, and its line ends in a tag
        if line.startswith("# ") and (len(fields) < 2 or problem(fields[-1], config.scheme)):
            comments.append(fields[1:] if fields[0] == "#" else line[2:].split())
            continue
        if len(fields) < 2:
            raise UnreadableFileError(
                f"{path}, line {number}: expected a word and its tag, in columns between tabs or "
                f"spaces. Received: {line[:_SHOWN]!r}"
            )
        names = next((found for found in comments if len(found) == len(fields)), [])
        word = _column(path, "text_column", config.text_column, names, len(fields))
        tag = _column(path, "label_column", config.label_column, names, len(fields))
        if word == tag:
            raise DataError(
                f"--data.text_column and --data.label_column must be different columns of {path}. "
                f"Received: {config.text_column!r} and {config.label_column!r}, which are column "
                f"{word}"
            )
        return _Layout("\t" in line, len(fields), word, tag, number)
    raise DataError(
        f"{path} has no words: expected a word and its tag on each line, and a blank line after "
        f"each sentence. Received: {number} lines without any"
    )


def _column(path: Path, setting: str, wanted: str, names: list[str], count: int) -> int:
    """Return the number, from 0, of the column that a setting asks for."""
    if wanted in names:
        return names.index(wanted)
    if _NUMBER.fullmatch(wanted):
        if -count <= int(wanted) < count:
            return int(wanted) % count
        accepted = f"0 to {count - 1}, or -{count} to -1"
    elif wanted == DataConfig.__dataclass_fields__[setting].default:
        return 0 if setting == "text_column" else count - 1
    elif names:
        accepted = f"{', '.join(names)}, or their numbers from 0"
    else:
        accepted = (
            f"numbers from 0 to {count - 1}; for names, a line '# NAME NAME ...' with {count} of "
            f"them above the first word"
        )
    raise MissingColumnError(
        f"No such column in {path}.{did_you_mean(wanted, names)} Accepted: {accepted}. Give "
        f"--data.{setting}. Received: {wanted!r}"
    )


def _between(line: str) -> bool:
    """Return whether a line stands between sentences."""
    return not line or line.startswith("-DOCSTART-")


def _fields(line: str, tabs: bool) -> list[str]:
    if tabs:
        return [field.strip(" ") for field in line.split("\t")]
    return _FIELD.findall(line)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, without what ends it; of white space alone, as empty."""
    number = 0
    for block in line_blocks(path):
        for line in block:
            number += 1
            try:
                text = line.decode("utf-8").rstrip(" \t\r")
            except UnicodeDecodeError as error:
                raise undecodable(f"{path}, line {number}", error) from None
            yield number, text
