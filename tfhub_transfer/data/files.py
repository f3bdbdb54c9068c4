"""Which file is read how."""

from __future__ import annotations

from pathlib import Path

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import conll, delimited, json_lines, parquet
from tfhub_transfer.data.table import Table, role_of

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
COMPRESSIONS = (".gz", ".bz2", ".zst")
# where words are labelled
WORD_SUFFIXES = (".conll", ".bio", ".iob", ".iob2", ".txt", ".jsonl", ".parquet")


def kind_of(path: Path, *, words: bool = False) -> str | None:
    """Return the suffix that says how to read `path`, None if none does.

    Args:
        path: a file's.
        words: whether words are labelled: then one of `WORD_SUFFIXES`, `.conll` for all files of
            columns, also those that end in the name of a split, as `eng.testa`; else of `SUFFIXES`.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes and suffixes[-1] in COMPRESSIONS
    (kind,) = (suffixes[-2:-1] if compressed else suffixes[-1:]) or [""]
    if words and kind not in (".jsonl", ".parquet"):
        return ".conll" if kind in WORD_SUFFIXES or role_of(kind[1:]) else None
    # Parquet compresses its own pages, and is read from its end
    if kind not in SUFFIXES or (compressed and kind == ".parquet"):
        return None
    return kind


def open_table(path: Path, config: DataConfig, *, words: bool = False) -> Table:
    """Return the rows of the file `path`, whose suffix must be known, as a table.

    Args:
        path: of the file.
        config: names its columns.
        words: whether words are labelled.

    Raises:
        MissingColumnError: the file has no such text or label column.
        DataError: the file has no rows, or a column holds something else than texts or labels.
        UnreadableFileError: the file is broken. Reading the rows may raise it, too.
    """
    kind = kind_of(path, words=words)
    if kind == ".jsonl":
        read = json_lines.open_rows(path, config, words=words)
    elif kind == ".parquet":
        read = parquet.open_rows(path, config, words=words)
    elif kind == ".conll":
        read = conll.open_rows(path, config)
    else:
        read = delimited.open_rows(path, config, "\t" if kind == ".tsv" else ",")
    return Table(str(path), read)
