"""Folders with seq.in, seq.out and label."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.errors import DataError, UnreadableFileError

FILES = {
    "seq.in": "fly to boston\nwhat fares\n",
    "seq.out": "O O B-city\nO O\n",
    "label": "flight\nflight#airfare\n",
}


def folder_of(folder: Path, *splits: str, **changed: str | bytes | None) -> Path:
    """Write these splits; `changed` replaces files, whose names have `_` for the dot."""
    files = FILES | {name.replace("_", "."): content for name, content in changed.items()}
    for split in splits:
        place = folder / split
        place.mkdir(exist_ok=True)
        for name, content in files.items():
            if content is not None:
                (place / name).write_bytes(
                    content.encode() if isinstance(content, str) else content
                )
    return folder


def rows(folder: Path, split: str = "all", **settings):
    source = open_source(DataConfig(source=str(folder), **settings), words=True)
    (batch,) = source.splits[split].read()
    return list(zip(batch.rows.tolist(), batch.texts, batch.labels, strict=True))


def test_words_and_tags_with_the_intent_in_front(tmp_path):
    folder = folder_of(tmp_path, "train", "dev", "test", "notes")
    source = open_source(DataConfig(source=str(folder)), words=True)
    assert source.joint
    assert set(source.splits) == {"train", "validation", "test"}
    assert source.name == tmp_path.name
    assert rows(folder, "test") == [
        (1, ["fly", "to", "boston"], ["flight", "O", "O", "B-city"]),
        (2, ["what", "fares"], ["flight#airfare", "O", "O"]),
    ]


def test_a_folder_with_only_train_or_that_is_a_split_is_one_table(tmp_path):
    folder = folder_of(tmp_path, "train")
    assert len(rows(folder)) == 2
    assert len(rows(folder / "train")) == 2


def test_line_ends_and_blank_lines(tmp_path):
    folder = folder_of(
        tmp_path,
        "train",
        seq_in="\ufefffly to boston \r\n\r\nwhat fares\r\n\r\n",
        seq_out="O O B-city\n\nO O",
        label="flight\n\nfare\n",
    )
    assert [(row, words[0]) for row, words, _ in rows(folder)] == [(1, "fly"), (3, "what")]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seq_out": "O O B-city\nO\n"}, r"seq\.out, line 2: expected a tag for each of the 2 "
                                         r"words in seq\.in and found 1\. Received: 'O' for 'what"),
        ({"label": "flight\n"}, r"label, line 2: .* Received: the end of the file, where the "
                                r"others have 'what fares'|a blank line"),
        ({"seq_out": "O O B-city\n\nO O\n"}, r"seq\.out, line 2: .* Received: a blank line"),
        ({"seq_in": FILES["seq.in"] + "more\n"}, r"seq\.out, line 3: .* have 'more'"),
        ({"seq_out": "O O city\nO O\n"}, r"seq\.out, line 1: 'city' is no tag: expected O, B-"),
        ({"label": b"flight\n\xff\n"}, r"label, line 2: not UTF-8, because of byte 0xff"),
    ],
)
def test_files_that_do_not_go_together(tmp_path, changed, message):
    with pytest.raises(UnreadableFileError, match=message):
        rows(folder_of(tmp_path, "train", **changed))


def test_empty_files(tmp_path):
    with pytest.raises(DataError, match=r"seq\.in has no words: .* Received: an empty file"):
        rows(folder_of(tmp_path, "train", seq_in="", seq_out="", label=""))


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"needs the files seq\.in, seq\.out, label\. Received: .*"
                                        r"train without label"):
        rows(folder_of(tmp_path, "train", label=None))


def test_two_folders_for_one_split(tmp_path):
    with pytest.raises(DataError, match=r"are its validation split: .* Received: dev, valid"):
        rows(folder_of(tmp_path, "train", "valid", "dev"))


def test_no_training_folder(tmp_path):
    with pytest.raises(DataError, match=r"needs a folder train with seq\.in.* with test"):
        rows(folder_of(tmp_path, "test"))
