"""QAMR: questions on the words of a sentence, each answered by three people.

Michael et al. 2018, "Crowdsourcing Question-Answer Meaning Representations" (NAACL, N18-2089); the
columns are those that data/README.md of the repository uwnlp/qamr describes.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from tfhub_transfer.data.decoding import undecodable
from tfhub_transfer.data.passages import (
    Answer,
    Passage,
    PassageSource,
    PassageTable,
    Question,
)
from tfhub_transfer.errors import DataError, UnreadableFileError

__all__ = ["open_folder"]

_SENTENCES = "wiki-sentences.tsv"
_COLUMNS = 9

# How the Penn Treebank writes what has a meaning of its own in its files.
_CHARACTERS = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
    "``": '"',
    "''": '"',
}


def open_folder(folder: Path) -> PassageSource | None:
    """Return the splits in a folder of QAMR's files; None if it is none.

    The sentences stand in `wiki-sentences.tsv`, in the folder or in the one above it. The context
    is a sentence's tokens between single spaces, brackets and quotation marks as characters of
    their own. An answer is a set of tokens: the span from its first to its last is taken, which is
    more than the answer where tokens in between are left out (2.5% of the answers). The writer's
    answer comes first, then those of the two validators; of the `full` files, questions that a
    validator judged invalid are rejected.

    The training file is published apart from the others. Without it, the development questions are
    trained on, and a part of them is held out to validate.

    Raises:
        UnreadableFileError: the sentences cannot be read. Reading the splits may raise it, too.
    """
    names = {split: folder / f"{split}.tsv" for split in ("train", "dev", "test")}
    there = {split: path for split, path in names.items() if path.exists()}
    known = [place / _SENTENCES for place in (folder, folder.resolve().parent)]
    sentences_file = next((path for path in known if path.exists()), None)
    if sentences_file is None or not there:
        return None
    sentences = _read_sentences(sentences_file)
    notes = []
    if "train" not in there:
        if "dev" not in there:
            raise DataError(
                f"{folder} has test questions and none to train on. Accepted: train.tsv or "
                f"dev.tsv beside it. Received: {', '.join(path.name for path in there.values())}"
            )
        there = {"train": there.pop("dev"), **there}
        notes.append(
            "There is no train.tsv: the questions of dev.tsv are trained on, but for those held "
            "out to validate."
        )
    roles = {"train": "train", "dev": "validation", "test": "test"}
    tables = {
        roles[split]: PassageTable(str(path), functools.partial(_read, path, sentences))
        for split, path in there.items()
    }
    name = folder.resolve().name
    if list(tables) == ["train"]:
        return PassageSource(name, {"all": tables["train"]}, tuple(notes))
    return PassageSource(name, tables, tuple(notes))


def _read_sentences(path: Path) -> dict[str, list[str]]:
    """Return each sentence's tokens."""
    sentences = {}
    for number, cells in _rows(path, 2):
        name, sentence = cells
        tokens = sentence.split(" ")
        if not all(tokens):
            raise UnreadableFileError(
                f"{path}, row {number}: expected tokens between single spaces. "
                f"Received: {sentence!r:.80}"
            )
        sentences[name] = [_CHARACTERS.get(token, token) for token in tokens]
    return sentences


def _read(path: Path, sentences: Mapping[str, list[str]]) -> Iterator[Passage]:
    for name, rows in itertools.groupby(_rows(path, _COLUMNS), key=lambda row: row[1][0]):
        tokens = sentences.get(name)
        if tokens is None:
            problem = f"no such sentence in {_SENTENCES}"
            yield Passage(name, tuple(_without_sentence(cells, problem) for _, cells in rows))
            continue
        context = " ".join(tokens)
        ends = list(itertools.accumulate(len(token) + 1 for token in tokens))
        spans = [(end - 1 - len(token), end - 1) for token, end in zip(tokens, ends, strict=True)]
        questions = [
            _question(cells, context, spans, f"{path}, row {number}") for number, cells in rows
        ]
        yield Passage(context, tuple(questions))


def _question(cells: list[str], context: str, spans: list[tuple[int, int]], where: str) -> Question:
    answers = [_answer(cells[6], context, spans, where)]
    problem = None
    for judged in cells[7:9]:
        _, colon, judgement = judged.partition(":")
        if not colon:
            raise UnreadableFileError(
                f"{where}: a validator's column should be WORKER:TOKENS. Received: {judged!r:.80}"
            )
        if judgement == "Invalid":
            problem = "judged invalid by a validator"
        elif not judgement.startswith("Redundant-"):  # to another question: no answer to this one
            answers.append(_answer(judgement, context, spans, where))
    return Question(_key(cells), cells[5].strip(), tuple(answers), problem)


def _without_sentence(cells: list[str], problem: str) -> Question:
    return Question(_key(cells), cells[5].strip(), (), problem)


def _key(cells: list[str]) -> str:
    """Return what tells a question from all others: sentence, target words, worker, number."""
    return "/".join(cells[:4])


def _answer(cell: str, context: str, spans: list[tuple[int, int]], where: str) -> Answer:
    """Return the answer that a cell such as `3 4 6` gives by its tokens' numbers."""
    try:
        tokens = [int(number) for number in cell.split()]
        first, last = min(tokens), max(tokens)
        if first < 0:
            raise IndexError
        start, end = spans[first][0], spans[last][1]
    except (ValueError, IndexError):
        raise UnreadableFileError(
            f"{where}: an answer should be numbers of the sentence's tokens, 0 to "
            f"{len(spans) - 1}, between spaces. Received: {cell!r:.80}"
        ) from None
    return Answer(context[start:end], start)


def _rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield row numbers from 1 and cells; no cell is quoted, and there is no header."""
    number = 0
    try:
        with pa.input_stream(path, compression="detect") as stream:
            for number, line in enumerate(io.TextIOWrapper(stream, "utf-8", newline="\n"), 1):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) != columns:
                    raise UnreadableFileError(
                        f"{path}, row {number}: expected {columns} columns between tabs, as "
                        f"QAMR's files have them, and found {len(cells)}. Received: {line!r:.80}"
                    )
                yield number, cells
    except UnicodeDecodeError as error:
        raise undecodable(f"{path}, after row {number}", error) from None
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read. Received: {error}") from error
