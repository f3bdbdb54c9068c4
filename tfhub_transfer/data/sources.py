"""Where examples come from: the sample, TFDS, a file, or a folder of files."""

from __future__ import annotations

from pathlib import Path

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import files
from tfhub_transfer.data.table import Batch, Source, Table, role_of
from tfhub_transfer.errors import DataError
from tfhub_transfer.registry import did_you_mean

__all__ = ["SAMPLE", "Batch", "Source", "Table", "open_source"]

SAMPLE = Path(__file__).parent / "sample"

_ACCEPTED = (
    f"Accepted: 'sample'; 'tfds:NAME[/CONFIG][:SPLIT]'; a file ending in "
    f"{', '.join(files.SUFFIXES)}, all but Parquet also compressed "
    f"({', '.join(files.COMPRESSIONS)}); a folder with train, validation and test files of those"
)


def open_source(config: DataConfig) -> Source:
    """Find what `config.source` names; its rows are read later, as a stream.

    Raises:
        DataError: there is nothing of that name, or it is not laid out as expected.
        MissingColumnError: it has no such text or label column.
        UnreadableFileError: it is broken.
    """
    if config.source == "sample":
        return _open_folder(SAMPLE, config, "sample")
    if config.source.startswith("tfds:"):
        # TFDS takes seconds to import, and reading files does not need it
        from tfhub_transfer.data import tfds

        return tfds.open_tfds(config)
    path = Path(config.source)
    if path.is_dir():
        return _open_folder(path, config, path.resolve().name)
    if not path.exists() and (files.kind_of(path) or path.parent != Path()):
        near = [other.name for other in path.parent.glob("*")]
        raise DataError(
            f"No such file or folder.{did_you_mean(path.name, near)} "
            f"Received: {config.source!r}"
        )
    if not path.exists():
        raise DataError(
            f"No such data source.{did_you_mean(config.source, ['sample'])} {_ACCEPTED}. "
            f"Received: {config.source!r}"
        )
    if files.kind_of(path) is None:
        raise DataError(f"Unknown kind of file. {_ACCEPTED}. Received: {config.source!r}")
    return Source(path.name, {"all": files.open_table(path, config)})


def _open_folder(folder: Path, config: DataConfig, name: str) -> Source:
    """Find the train, validation and test files in `folder`."""
    entries = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    splits: dict[str, Path] = {}
    for entry in entries:
        split = role_of(entry.split(".")[0])
        if split is None or files.kind_of(Path(entry)) is None:
            continue
        if split in splits:
            raise DataError(
                f"Two files of {folder} are its {split} split: leave one. "
                f"Received: {splits[split].name}, {entry}"
            )
        splits[split] = folder / entry
    if "train" not in splits:
        raise DataError(
            f"A folder needs a train file ({', '.join('train' + s for s in files.SUFFIXES)}), and "
            f"may have a validation (or valid, val, dev) and a test file beside it. To use a "
            f"single file, name it itself: --data.source {folder / 'FILE'}. "
            f"Received: {folder} with {', '.join(entries) or 'nothing'}"
        )
    if len({files.kind_of(path) for path in splits.values()}) > 1:
        raise DataError(
            f"The splits in {folder} must be files of one kind. "
            f"Received: {', '.join(path.name for path in splits.values())}"
        )
    tables = {split: files.open_table(path, config) for split, path in splits.items()}
    if len(tables) == 1:
        return Source(name, {"all": tables["train"]})
    return Source(name, tables)
