"""What is read of a corpus, and what is said of one that cannot be read."""

from __future__ import annotations

import bz2
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError
from tfhub_transfer.pretraining.corpus import files as corpus_files
from tfhub_transfer.pretraining.corpus.corpus import Corpus


def texts_of(*sources: object, **options: Any) -> list[str]:
    corpus = Corpus([str(source) for source in sources], **options)
    texts = [text for batch in corpus.batches() for text in batch]
    assert corpus.done == corpus.size
    return texts


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_lines_of_a_text_file(tmp_path):
    file = write(tmp_path / "a.txt", "\ufeffone film\r\n\n \t\nзwei\nlast")
    assert texts_of(file) == ["one film\r", "зwei", "last"]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".ZST", lambda content: pa.compress(content, codec="zstd", asbytes=True)),
    ],
)
def test_compressed_files(tmp_path, suffix, compress):
    lines = [f"line {n} ä" for n in range(100_000)]
    file = write(tmp_path / f"a.txt{suffix}", compress("\n".join(lines).encode()))
    corpus = Corpus([str(file)])
    done = [corpus.done for _ in corpus.batches()]
    assert texts_of(file) == lines
    assert corpus.size == file.stat().st_size
    assert done == sorted(done), "what a bar shows goes on"


def test_keys_of_json_lines(tmp_path):
    rows = [{"text": "a\nb", "label": 1}, {"text": None}, {"text": ""}, {"text": "ü 🎬"}]
    file = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, rows)))
    assert texts_of(file) == ["a\nb", "ü 🎬"]
    file = write(tmp_path / "b.jsonl", '{"body": "c"}\n')
    assert texts_of(file, text_column="body") == ["c"]


def test_several_sources_in_their_order(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    write(folder / "b.txt", "third")
    write(folder / "a.jsonl", '{"text": "second"}')
    write(folder / "deeper" / "c.txt", "fourth")
    write(folder / "README.md", "not read")
    first = write(tmp_path / "z.txt", "first")
    assert texts_of(first, folder) == ["first", "second", "third", "fourth"]
    (note,) = Corpus([str(folder)]).notes
    assert note.endswith("left out, 1 in all: README.md")
    for name in ("1.csv", "2.png", "3.pdf", "4.csv", "5.tsv"):
        write(folder / "deeper" / name, "")
    (note,) = Corpus([str(folder)]).notes
    assert note.endswith("6 in all: README.md, 1.csv, 2.png, 3.pdf, 4.csv, ...")
    assert not Corpus([str(first)]).notes


def test_a_module_in_a_folder_of_texts_is_no_text(tmp_path):
    write(tmp_path / "a.txt", "one film")
    module = tmp_path / "run" / "module"
    (module / "assets").mkdir(parents=True)
    (module / "saved_model.pb").touch()
    write(module / "assets" / "vocabulary.txt", "film\n")
    assert texts_of(tmp_path) == ["one film"]


def test_each_call_starts_anew(tmp_path):
    corpus = Corpus([str(write(tmp_path / "a.txt", "a\nb\n"))])
    next(corpus.batches())
    assert list(corpus.batches()) == list(corpus.batches()) == [["a", "b"]]


def test_the_fingerprint_is_of_the_sources(tmp_path):
    file = write(tmp_path / "a.txt", "a\nb\n")
    before = Corpus([str(file)]).fingerprint
    assert Corpus([str(file)]).fingerprint == before
    assert Corpus([str(file)], "body").fingerprint != before
    write(file, "a\nb\nc\n")
    assert Corpus([str(file)]).fingerprint != before


@settings(deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\0\n", codec="utf-8"), max_size=30)),
    block=st.integers(1, 40),
)
def test_blocks_leave_lines_whole(tmp_path_factory, lines, block):
    file = write(tmp_path_factory.mktemp("lines") / "a.txt", "\n".join(["first", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_files, "_BLOCK_BYTES", max(block, 3))
        present = [line for line in lines if line and not line.isspace()]
        assert texts_of(file) == ["first", *present]


@pytest.mark.parametrize("letter", ["a", "ä", "映", "🎬"])
@pytest.mark.parametrize("between", ["", " "])
def test_a_line_too_long_for_the_memory_is_cut(tmp_path, monkeypatch, letter, between):
    monkeypatch.setattr(corpus_files, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(corpus_files, "_LINE_BYTES", 5000)
    long = between.join([letter * 7] * 3000)
    texts = texts_of(write(tmp_path / "a.txt", f"short\n{long}\nshort"))
    assert "".join(texts) == f"short{long}short"
    assert max(len(text.encode()) for text in texts) <= 6000
    if between:
        words = {word for text in texts[1:-1] for word in text.split()}
        assert words == {letter * 7}, "no word is cut"


def refused(expected: type[Exception], said: str, *sources: object, **options: Any) -> None:
    with pytest.raises(expected, match=said):
        texts_of(*sources, **options)


def test_binary_files_and_other_encodings(tmp_path):
    png = write(tmp_path / "picture.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    refused(UnreadableFileError, r"picture.txt, row 1: not UTF-8.* 0x89, so this is binary", png)
    wide = write(tmp_path / "wide.txt", "one\ntwo".encode("utf-16-le"))
    refused(UnreadableFileError, r"wide.txt, row 1: a NUL byte.*UTF-8\. Received: b'o\\x00n", wide)
    late = write(tmp_path / "late.txt", b"fine\n" * 300_000 + b"caf\xe9\n")
    refused(UnreadableFileError, r"late.txt, row 300001: not UTF-8, because of byte 0xe9", late)
    hole = write(tmp_path / "hole.txt", b"fine\n" * 300_000 + b"a\0b\n")
    refused(UnreadableFileError, r"hole.txt, row 300001: a NUL byte", hole)
    zeros = write(tmp_path / "zeros.jsonl", bytes(100))
    refused(UnreadableFileError, r"zeros.jsonl, row 1: a NUL byte", zeros)


def test_what_is_wrong_at_the_start_is_said_before_anything_is_read(tmp_path):
    with pytest.raises(UnreadableFileError, match="a NUL byte"):
        Corpus([str(write(tmp_path / "a.txt", b"\0"))])


@pytest.mark.parametrize("cut", [10, 1000, -1])
def test_truncated_files(tmp_path, cut):
    whole = gzip.compress("\n".join(map(str, range(10_000))).encode())
    file = write(tmp_path / "a.txt.gz", whole[:cut])
    refused(UnreadableFileError, r"a.txt.gz cannot be read. Received: ", file)


@pytest.mark.parametrize(
    ("row", "expected", "said"),
    [
        ("{", UnreadableFileError, r"row 3: expected a JSON object .*Received: '\{'"),
        ("[1]", UnreadableFileError, r"row 3: expected a JSON object .*Received: '\[1\]'"),
        ('{"txt": "a"}', MissingColumnError, r"row 3 has no such key. Did you mean 'txt'\? It has"),
        ('{"text": 7}', DataError, r"row 3: a text must be a string. Received: 7"),
        (r'{"text": "\ud800"}', UnreadableFileError, r"row 3: half of a surrogate pair"),
    ],
)
def test_rows_of_json_that_are_no_texts(tmp_path, row, expected, said):
    file = write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n\n{row}\n')
    refused(expected, rf"a\.jsonl, {said}", file)


def test_a_row_of_json_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_files, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(corpus_files, "_JSON_LINE_BYTES", 5000)
    file = write(tmp_path / "a.jsonl", "[" * 10_000)
    refused(UnreadableFileError, r"a.jsonl: a row is longer than .*Received: b'\[\[", file)


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_no_text_at_all(tmp_path, content):
    file = write(tmp_path / "a.txt", content)
    refused(DataError, rf"no text in the corpus. Received: {re.escape(str(file))}$", file)


def test_sources_that_are_not_there_or_of_another_kind(tmp_path):
    file = write(tmp_path / "corpus.txt", "a")
    refused(DataError, r"No such file or folder. Did you mean 'corpus.txt'", tmp_path / "corpu.txt")
    other = write(tmp_path / "corpus.pdf", "a")
    refused(DataError, r"Unknown kind of file. Accepted: a file ending in .txt or .jsonl", other)
    (tmp_path / "empty").mkdir()
    refused(DataError, r"No file of text in this folder. Accepted: ", tmp_path / "empty")
    refused(DataError, r"name it once. Received: .*corpus.txt$", file, tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return a data_dir with a small data set without labels, prepared by TFDS itself."""
    import numpy as np
    import tensorflow_datasets as tfds

    class Pages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            features = {"text": tfds.features.Text(), "views": np.int64}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager: Any) -> dict[str, Any]:
            return {name: self._generate_examples(name) for name in ("train", "test")}

        def _generate_examples(self, split: str) -> Any:
            for n in range(100):
                text = "" if n % 10 == 9 else f"{split} ä {n}"
                yield n, {"text": text if n else b"\xff", "views": n}

    folder = tmp_path_factory.mktemp("tfds")
    local = tfds.download.DownloadConfig(try_download_gcs=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.DatasetInfo, "initialize_from_bucket", lambda info: None)
        Pages(data_dir=folder).download_and_prepare(download_config=local)
    return folder


def test_splits_of_tfds(prepared, monkeypatch):
    from tfhub_transfer.pretraining.corpus import tfds as corpus_tfds

    def of_pages(*splits: str, **options: Any) -> list[str]:
        return texts_of(*(f"tfds:pages:{split}" for split in splits), dir=str(prepared), **options)

    with pytest.raises(UnreadableFileError, match=r"tfds:pages:train, row \d+: not UTF-8"):
        of_pages("train")
    monkeypatch.setattr(
        corpus_tfds, "decode", lambda text, row, where: text.decode(errors="replace")
    )
    whole = of_pages("train")
    expected = ["\ufffd", *(f"train ä {n}" for n in range(1, 100) if n % 10 != 9)]
    assert sorted(whole) == sorted(expected)
    monkeypatch.setattr(corpus_tfds, "_BATCH_CHARACTERS", 10)
    assert of_pages("train") == whole
    assert set(of_pages("train[:20]", "test[90:]")) - set(whole)
    assert len(of_pages("train[:20]")) <= 20
    with pytest.raises(DataError, match=r"splits that are named.* Accepted: tfds:NAME:SPLIT, "):
        texts_of("tfds:pages", dir=str(prepared))
    with pytest.raises(MissingColumnError, match=r"No such feature .*--data.text_column. Received"):
        of_pages("train", text_column="body")
    with pytest.raises(DataError, match="'views' of tfds:pages must be a string"):
        of_pages("train", text_column="views")


@pytest.mark.real_data
def test_imdb(real_data):
    corpus = Corpus(["tfds:imdb_reviews:unsupervised[:1%]"], dir=str(real_data / "tfds"))
    assert sum(map(len, corpus.batches())) == 500
    assert corpus.done == corpus.size > 500_000
