"""New text in, labels or answers out, in batches; all of `python -m tfhub_transfer.predict`."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

from tfhub_transfer.data.lines import FORMATS, Format, batched, read_columns
from tfhub_transfer.errors import ConfigError, DataError
from tfhub_transfer.progress import progress
from tfhub_transfer.registry import LABELLERS
from tfhub_transfer.runs import Run, atomic_path, config_from_dict
from tfhub_transfer.training.classifier import Classifier


def label_stream(
    run: str,
    input: str,
    output: str,
    *,
    input_format: Format | None = None,
    output_format: str | None = None,
    text_column: str | None = None,
    question_column: str | None = None,
    context_column: str | None = None,
    batch_size: int = 256,
) -> int:
    """Label each record of `input` and write it to `output` with what the model says of it.

    A file is written under a temporary name, so that one that is there is whole.

    Args:
        run: the directory of a finished run.
        input: a file, or `-` for standard input.
        output: a file, or `-` for standard output.
        input_format: when the suffix does not tell.
        output_format: `jsonl` with all that the model says, or `csv` with what fits into cells; see
            `evaluation.labellers`.
        text_column: of the texts; that of the run's own data when not given.
        question_column: of the questions, where the run answers them; `question` when not given.
        context_column: of their contexts; `context` when not given.
        batch_size: texts labelled together.

    Returns:
        The number of records.

    Raises:
        TransferError: the run is not finished, or the input is broken; the text says where.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1. Received: {batch_size}")
    source = input_format or ("lines" if input == "-" else _format_of(input))
    target = output_format or ("csv" if output.endswith(".csv") else "jsonl")
    opened = Run.open(run)
    classifier = Classifier.load(opened)
    config = config_from_dict(opened.load_config())
    label = LABELLERS.load(config.task)(classifier)
    given = {"text": text_column, "question": question_column, "context": context_column}
    columns = _columns(classifier.head.inputs, given, config.data.text_column, source)
    done = 0
    with _reading(input) as lines, _writing(output) as sink, progress("Labelling", "texts") as tick:
        write = _Csv(sink, label.cells) if target == "csv" else _Jsonl(sink)
        for batch in batched(read_columns(lines, source, columns, _named(input)), batch_size):
            records, texts = zip(*batch, strict=True)
            answers = label(*map(list, zip(*texts, strict=True)))
            for record, result in zip(records, answers, strict=True):
                write(_renamed(record, result), result)
            sink.flush()
            done += len(batch)
            tick(len(batch))
    return done


def _renamed(record: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Keep a column of the input that is called as one of ours, under a name that is free."""
    renamed = {}
    for name, value in record.items():
        free = name
        while free in result or (free != name and free in record):
            free = f"input_{free}"
        renamed[free] = value
    return renamed


class _Jsonl:
    def __init__(self, sink: IO[str]):
        self._sink = sink

    def __call__(self, record: dict[str, Any], result: dict[str, Any]) -> None:
        self._sink.write(json.dumps({**record, **result}, ensure_ascii=False) + "\n")


class _Csv:
    def __init__(self, sink: IO[str], cells: Callable[[dict[str, Any]], dict[str, str]]):
        self._sink, self._cells = sink, cells
        self._writer: csv.DictWriter[str] | None = None

    def __call__(self, record: dict[str, Any], result: dict[str, Any]) -> None:
        row = {**record, **self._cells(result)}
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._sink, list(row), lineterminator="\n", extrasaction="ignore"
            )
            self._writer.writeheader()
        self._writer.writerow(row)


def _columns(
    inputs: Sequence[str], given: Mapping[str, str | None], own: str, source: Format
) -> dict[str, str]:
    """Return the column that holds each input, by the setting that names it.

    Args:
        inputs: of the run's model.
        given: what the user calls the columns, by input; also of inputs that it has not.
        own: the column of texts in the run's data.
        source: the format of the input.
    """
    wanted = " and ".join(inputs)
    for name, column in given.items():
        if column is not None and name not in inputs:
            accepted = ", ".join(f"--{one}_column" for one in inputs)
            raise ConfigError(
                f"The run takes a {wanted}. Accepted: {accepted}. "
                f"Received: --{name}_column {column}"
            )
    if source == "lines" and len(inputs) > 1:
        raise ConfigError(
            f"A line is one text, and the run takes a {wanted}. Accepted: a file of CSV, TSV or "
            f"JSONL, or --input_format csv|tsv|jsonl where no suffix tells. Received: lines"
        )
    if source == "lines":
        return {"text_column": "text"}
    return {f"{name}_column": given[name] or {"text": own}.get(name, name) for name in inputs}


def _named(input: str) -> str:
    return "standard input" if input == "-" else input


def _format_of(path: str) -> Format:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(
            f"The suffix does not tell the format. Accepted: {', '.join(FORMATS)}, or "
            f"--input_format lines|csv|tsv|jsonl. Received: {path}"
        )
    return FORMATS[suffix]


@contextlib.contextmanager
def _reading(path: str) -> Iterator[TextIO]:
    if path == "-":
        sys.stdin.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8-sig", errors="strict", newline=""
        )
        yield sys.stdin
        return
    # not `is_file`: a named pipe, as of `<(command)`, is as good
    if not Path(path).exists() or Path(path).is_dir():
        raise DataError(f"No such file. Received: {path}")
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield file


@contextlib.contextmanager
def _writing(path: str) -> Iterator[IO[str]]:
    # half a surrogate pair in a JSON string comes out as it came in, as an escape
    written = {"encoding": "utf-8", "errors": "backslashreplace"}
    target = Path(path)
    if path == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(**written)
        yield sys.stdout
    elif target.is_dir():
        raise ConfigError(f"The output should be a file. Received the directory {path}")
    elif target.exists() and not target.is_file():  # a device or a pipe, not to be replaced
        with target.open("w", **written) as file:
            yield file
    else:
        with atomic_path(target) as temporary, temporary.open("w", **written) as file:
            yield file
