"""Folders of questions with slots and intents, laid out as ATIS and SNIPS are.

Each split is a folder with three files of equally many lines: `seq.in`, words between spaces;
`seq.out`, as many tags; and `label`, the intent, which is taken as it stands, be it
`atis_flight#atis_airfare` (Goo et al. 2018, "Slot-Gated Modeling").
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfhub_transfer.data.decoding import undecodable
from tfhub_transfer.data.json_lines import line_blocks
from tfhub_transfer.data.schemes import problem
from tfhub_transfer.data.table import Batch, Source, Table, role_of
from tfhub_transfer.errors import DataError, UnreadableFileError

__all__ = ["is_slots", "open_slots"]

WORDS, TAGS, INTENT = FILES = ("seq.in", "seq.out", "label")
_BATCH_SENTENCES = 1024
_SHOWN = 100


def is_slots(folder: Path) -> bool:
    """Return whether one of these files is in `folder`, or in a folder of a split in it."""
    return any((place / WORDS).exists() or (place / TAGS).exists() for place in _places(folder))


def open_slots(folder: Path, scheme: str, name: str) -> Source:
    """Return the splits in `folder`, or the one that it is; the first label of a row its intent.

    Args:
        folder: what `is_slots` is true of.
        scheme: of the tags, or `auto`.
        name: of the source.

    Raises:
        DataError: a file is missing, two folders are one split, or none is for training.
        UnreadableFileError: while reading: files that do not go together, or that are broken.
    """
    splits: dict[str, Path] = {}
    for place in _places(folder):
        role = "all" if place == folder else role_of(place.name)
        missing = [file for file in FILES if not (place / file).is_file()]
        if role is None or len(missing) == len(FILES):
            continue
        if missing:
            raise DataError(
                f"Each split needs the files {', '.join(FILES)}. Received: {place} without "
                f"{', '.join(missing)}"
            )
        if role in splits:
            raise DataError(
                f"Two folders in {folder} are its {role} split: leave one. "
                f"Received: {splits[role].name}, {place.name}"
            )
        splits[role] = place
    if not {"train", "all"} & splits.keys():
        raise DataError(
            f"A folder needs a folder train with {', '.join(FILES)}, and may have valid (or dev) "
            f"and test beside it. Received: {folder} with {', '.join(sorted(splits)) or 'none'}"
        )
    if splits.keys() == {"train"}:
        splits = {"all": splits["train"]}
    tables = {
        role: Table(str(place), functools.partial(_read, place, scheme))
        for role, place in splits.items()
    }
    return Source(name, tables, joint=True)


def _places(folder: Path) -> list[Path]:
    inside = (entry for entry in folder.iterdir() if entry.is_dir())
    return [folder, *sorted(entry for entry in inside if not entry.name.startswith("."))]


def _read(folder: Path, scheme: str) -> Iterator[Batch]:
    rows = _rows(folder, scheme)
    while chunk := list(itertools.islice(rows, _BATCH_SENTENCES)):
        numbers, texts, labels = map(list, zip(*chunk, strict=True))
        yield Batch(np.array(numbers, np.int64), texts, labels)


def _rows(folder: Path, scheme: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield for each line its number, its words, and its intent and tags."""
    lines = itertools.zip_longest(*(_lines(folder / file) for file in FILES))
    number = 0
    for number, (text, tagged, intent) in enumerate(lines, start=1):
        if not (text or tagged or intent):  # blank in all three, or behind the end of some
            continue
        for file, line in zip(FILES, (text, tagged, intent), strict=True):
            if not line:
                found = "a blank line" if line == "" else "the end of the file"
                raise UnreadableFileError(
                    f"{folder / file}, line {number}: {', '.join(FILES)} must have a line each "
                    f"for every text. Received: {found}, where the others have "
                    f"{(text or tagged or intent)[:_SHOWN]!r}"
                )
        words, tags = text.split(), tagged.split()
        if len(words) != len(tags):
            raise UnreadableFileError(
                f"{folder / TAGS}, line {number}: expected a tag for each of the {len(words)} "
                f"words in {WORDS} and found {len(tags)}. Received: {tagged[:_SHOWN]!r} for "
                f"{text[:_SHOWN]!r}"
            )
        if why := next((why for tag in tags if (why := problem(tag, scheme))), None):
            raise UnreadableFileError(
                f"{folder / TAGS}, line {number}: {why}. Received: {tagged[:_SHOWN]!r}"
            )
        yield number, words, [intent, *tags]
    if not number:
        raise DataError(
            f"{folder / WORDS} has no words: expected a text on each line. Received: an empty file"
        )


def _lines(path: Path) -> Iterator[str]:
    number = 0
    for block in line_blocks(path):
        for line in block:
            number += 1
            try:
                yield line.decode("utf-8").strip(" \t\r")
            except UnicodeDecodeError as error:
                raise undecodable(f"{path}, line {number}", error) from None
