"""Plain text from files and TFDS sets, in a stream."""

from __future__ import annotations

import collections
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfhub_transfer.errors import DataError
from tfhub_transfer.pretraining.corpus.files import COMPRESSIONS, SUFFIXES, kind_of, read_texts
from tfhub_transfer.pretraining.corpus.part import Part
from tfhub_transfer.registry import did_you_mean

__all__ = ["Corpus"]

_ACCEPTED = (
    f"Accepted: a file ending in {' or '.join(SUFFIXES)}, maybe compressed "
    f"({', '.join(COMPRESSIONS)}); a folder of such files; tfds:NAME[/CONFIG]:SPLIT"
)
# Of the files that are left out, so many are named.
_NAMED = 5


class Corpus:
    """Texts of one or more sources, one after the other, in the order they are given.

    Attributes:
        sources: as they were given.
        parts: the files and splits that they are.
        size: bytes of all of them.
        done: how many of them the latest `batches` has gone past; `size` at its end.
        fingerprint: changes when a source does.
        notes: sentences a person should read, as about files that are left out.

    Args:
        sources: text files (.txt) in which each line is a text, JSONL files, either maybe
            compressed, folders of such files, or `tfds:NAME[/CONFIG]:SPLIT`.
        text_column: the key, or TFDS feature, that holds the text.
        dir: where prepared TFDS data sets are.

    Raises:
        DataError: there is no such source, its kind is unknown, or it is named twice.
        MissingColumnError: it has no such text column.
        UnreadableFileError: it cannot be read, as far as it was.
    """

    def __init__(self, sources: Sequence[str], text_column: str = "text", dir: str | None = None):
        self.sources = tuple(sources)
        notes: list[str] = []
        self.parts = [
            part for source in sources for part in _parts(source, text_column, dir, notes)
        ]
        self.notes = tuple(notes)
        names = collections.Counter(part.name for part in self.parts)
        if twice := [name for name, count in names.items() if count > 1]:
            raise DataError(
                f"Each source of a corpus is read once: name it once. Received: {', '.join(twice)}"
            )
        self.size = sum(part.size for part in self.parts)
        self.done = 0
        told = "\n".join(f"{part.name}\t{part.version}" for part in self.parts)
        self.fingerprint = hashlib.sha256(f"{text_column}\n{told}".encode()).hexdigest()

    def batches(self) -> Iterator[list[str]]:
        """Yield lists of texts, each text once; those of nothing but white space are left out.

        Every call starts anew and yields the same batches, of about a megabyte.

        Raises:
            DataError: there is no text in all of the sources, or one is no string.
            UnreadableFileError: a row cannot be read; the text says of which file.
        """
        before, empty = 0, True
        for part in self.parts:
            for texts, done in part.read():
                self.done = before + min(done, part.size)
                if present := [text for text in texts if text and not text.isspace()]:
                    empty = False
                    yield present
            before += part.size
        self.done = self.size
        if empty:
            raise DataError(f"There is no text in the corpus. Received: {', '.join(self.sources)}")


def _parts(source: str, text_column: str, dir: str | None, notes: list[str]) -> list[Part]:
    """Return the files or the split that a source names; notes are added."""
    if source.startswith("tfds:"):
        # TFDS takes seconds to import, and reading files does not need it
        from tfhub_transfer.pretraining.corpus.tfds import open_split

        return [open_split(source, text_column, dir)]
    path = Path(source)
    if path.is_dir():
        inside = [file for file in path.rglob("*") if file.is_file()]
        # the vocabulary of a module that was written there is no text
        modules = {file.parent for file in inside if file.name == "saved_model.pb"}
        inside = sorted(file for file in inside if modules.isdisjoint(file.parents))
        files = [file for file in inside if kind_of(file)]
        if not files:
            raise DataError(f"No file of text in this folder. {_ACCEPTED}. Received: {source!r}")
        if others := [file.name for file in inside if not kind_of(file)]:
            more = ", ..." if len(others) > _NAMED else ""
            notes.append(
                f"of the folder {source}, files of other kinds than text and JSONL are left out, "
                f"{len(others):,} in all: {', '.join(others[:_NAMED])}{more}"
            )
        return [_file(file, text_column) for file in files]
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*")]
        raise DataError(
            f"No such file or folder.{did_you_mean(path.name, near)} {_ACCEPTED}. "
            f"Received: {source!r}"
        )
    if kind_of(path) is None:
        raise DataError(f"Unknown kind of file. {_ACCEPTED}. Received: {source!r}")
    return [_file(path, text_column)]


def _file(path: Path, text_column: str) -> Part:
    next(read_texts(path, text_column), None)  # so that what is wrong at once is said at once
    found = path.stat()
    return Part(
        str(path.resolve()),
        found.st_size,
        f"{found.st_size} {found.st_mtime_ns}",
        functools.partial(read_texts, path, text_column),
    )
