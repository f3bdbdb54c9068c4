"""Which file is read how."""

from __future__ import annotations

from pathlib import Path

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import delimited, json_lines, parquet
from tfhub_transfer.data.table import Table

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
COMPRESSIONS = (".gz", ".bz2", ".zst")


def kind_of(path: Path) -> str | None:
    """Return the one of `SUFFIXES` that says how to read `path`, None if none does."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes and suffixes[-1] in COMPRESSIONS
    kind = suffixes[-2:-1] if compressed else suffixes[-1:]
    # Parquet compresses its own pages, and is read from its end
    if not kind or kind[0] not in SUFFIXES or (compressed and kind[0] == ".parquet"):
        return None
    return kind[0]


def open_table(path: Path, config: DataConfig) -> Table:
    """Return the rows of the file `path`, whose suffix must be known, as a table.

    Raises:
        MissingColumnError: the file has no such text or label column.
        DataError: the file has no rows, or a column holds something else than texts or labels.
        UnreadableFileError: the file is broken. Reading the rows may raise it, too.
    """
    kind = kind_of(path)
    if kind == ".jsonl":
        read = json_lines.open_rows(path, config)
    elif kind == ".parquet":
        read = parquet.open_rows(path, config)
    else:
        read = delimited.open_rows(path, config, "\t" if kind == ".tsv" else ",")
    return Table(str(path), read)
