"""Where examples come from: the sample, TFDS, a file, or a folder of files."""

from __future__ import annotations

from pathlib import Path

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import files, slots
from tfhub_transfer.data.table import Batch, Source, Table, role_of
from tfhub_transfer.errors import DataError
from tfhub_transfer.registry import did_you_mean

__all__ = ["SAMPLE", "Batch", "Source", "Table", "open_source"]

SAMPLE = Path(__file__).parent / "sample"

def open_source(config: DataConfig, *, words: bool = False) -> Source:
    """Find what `config.source` names; its rows are read later, as a stream.

    Args:
        config: names the source and its columns.
        words: whether words are labelled: texts are then lists of words, and labels as many tags.

    Raises:
        DataError: there is nothing of that name, or it is not laid out as expected.
        MissingColumnError: it has no such text or label column.
        UnreadableFileError: it is broken.
    """
    accepted = _accepted(words)
    if config.source == "sample" and not words:
        return _open_folder(SAMPLE, config, "sample", words)
    if config.source.startswith("tfds:"):
        # TFDS takes seconds to import, and reading files does not need it
        from tfhub_transfer.data import tfds

        return tfds.open_tfds(config, words=words)
    path = Path(config.source)
    if path.is_dir():
        return _open_folder(path, config, path.resolve().name, words)
    if not path.exists() and (files.kind_of(path, words=words) or path.parent != Path()):
        near = [other.name for other in path.parent.glob("*")]
        raise DataError(
            f"No such file or folder.{did_you_mean(path.name, near)} "
            f"Received: {config.source!r}"
        )
    if not path.exists():
        near = did_you_mean(config.source, [] if words else ["sample"])
        raise DataError(f"No such data source.{near} {accepted}. Received: {config.source!r}")
    if files.kind_of(path, words=words) is None:
        raise DataError(f"Unknown kind of file. {accepted}. Received: {config.source!r}")
    return Source(path.name, {"all": files.open_table(path, config, words=words)})


def _open_folder(folder: Path, config: DataConfig, name: str, words: bool) -> Source:
    """Find the train, validation and test files in `folder`."""
    if words and slots.is_slots(folder):
        return slots.open_slots(folder, config.scheme, name)
    entries = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    splits: dict[str, Path] = {}
    for entry in entries:
        # where words are labelled, `eng.testa` and `emerging.dev.conll` are common names
        parts = entry.split(".") if words else entry.split(".")[:1]
        split = next(filter(None, map(role_of, parts)), None)
        if split is None or files.kind_of(Path(entry), words=words) is None:
            continue
        if split in splits:
            raise DataError(
                f"Two files of {folder} are its {split} split: leave one. "
                f"Received: {splits[split].name}, {entry}"
            )
        splits[split] = folder / entry
    if "train" not in splits:
        suffixes = files.WORD_SUFFIXES if words else files.SUFFIXES
        raise DataError(
            f"A folder needs a train file ({', '.join('train' + s for s in suffixes)}), and "
            f"may have a validation (or valid, val, dev) and a test file beside it. To use a "
            f"single file, name it itself: --data.source {folder / 'FILE'}. "
            f"Received: {folder} with {', '.join(entries) or 'nothing'}"
        )
    if len({files.kind_of(path, words=words) for path in splits.values()}) > 1:
        raise DataError(
            f"The splits in {folder} must be files of one kind. "
            f"Received: {', '.join(path.name for path in splits.values())}"
        )
    tables = {
        split: files.open_table(path, config, words=words) for split, path in splits.items()
    }
    if len(tables) == 1:
        return Source(name, {"all": tables["train"]})
    return Source(name, tables)


def _accepted(words: bool) -> str:
    suffixes = ", ".join(files.WORD_SUFFIXES if words else files.SUFFIXES)
    slot_folders = f", or train, valid and test folders with {', '.join(slots.FILES)}"
    return (
        f"Accepted: {'' if words else repr('sample') + '; '}'tfds:NAME[/CONFIG][:SPLIT]'; a file "
        f"ending in {suffixes}, all but Parquet also compressed ({', '.join(files.COMPRESSIONS)}); "
        f"a folder with train, validation and test files of those{slot_folders if words else ''}"
    )
