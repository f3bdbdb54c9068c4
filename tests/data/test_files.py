"""CSV, TSV, JSONL and Parquet: what was written is read, and what is broken is named."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import delimited, json_lines
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError


def write(path: Path, texts: list[str], labels: list[str]) -> None:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table({"text": texts, "label": labels}), path)
    elif path.suffix == ".jsonl":
        rows = zip(texts, labels, strict=True)
        path.write_text("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows))
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([("text", "label"), *zip(texts, labels, strict=True)])


def read(path: Path, **settings: str) -> tuple[list, list, list]:
    """Return row numbers, texts and labels of a single file."""
    table = open_source(DataConfig(source=str(path), **settings)).splits["all"]
    batches = list(table.read())
    return tuple([item for batch in batches for item in list(batch[n])] for n in range(3))


def bytes_at(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=20),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)
def test_any_texts_and_labels_come_back(rows, suffix):
    texts, labels = map(list, zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"data{suffix}")
        write(path, texts, labels)
        assert read(path) == (list(range(1, len(rows) + 1)), texts, labels)


def test_rows_that_span_blocks_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(json_lines, "_BLOCK_BYTES", 64)
    texts = [f"line {n}\nand, more" for n in range(100)] + ["long " * 500, "short"]
    labels = [str(n) for n in range(102)]
    for name in ("data.csv", "data.jsonl"):
        write(tmp_path / name, texts, labels)
        assert read(tmp_path / name) == (list(range(1, 103)), texts, labels)


@pytest.mark.parametrize("name", ["data.csv.gz", "data.tsv.gz", "data.jsonl.gz"])
def test_compressed_files_are_read(tmp_path, name):
    plain = tmp_path / name.removesuffix(".gz")
    write(plain, ["one", "two"], ["x", "y"])
    (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    assert read(tmp_path / name) == ([1, 2], ["one", "two"], ["x", "y"])


def test_csv_values_stay_as_they_are_written(tmp_path):
    path = bytes_at(tmp_path, "a.csv", b"text,label\n0012,007\nNA,1.50\n2020-01-02,true\nnull,\n")
    assert read(path)[1:] == (["0012", "NA", "2020-01-02", "null"], ["007", "1.50", "true", ""])


def test_json_values_stay_as_they_are_written(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "2020-01-02 00:00:00", "label": 7}\n\n{"label": 1.50, "text": 12}\n'
        '{"text": null, "label": true}\n{"text": "a", "label": NaN}\n{"text": "b"}\n'
        '{"text": "c", "label": ["x", 3, false]}\n{"text": "d", "label": []}'
    )
    rows, texts, labels = read(path)
    assert rows == [1, 3, 4, 5, 6, 7, 8]  # the blank line has a number too
    assert texts == ["2020-01-02 00:00:00", "12", None, "a", "b", "c", "d"]
    assert labels == ["7", "1.50", "true", None, None, ["x", "3", "false"], []]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([3, None]), ["3", None]),
        (pa.array([2.0, float("nan")]), ["2.0", None]),
        (pa.array([True, None]), ["True", None]),
        (pa.array(["x", None]).dictionary_encode(), ["x", None]),
        (pa.array([["x", None, "y"], None]), [["x", "y"], None]),
        (pa.array([[1, 2], []]), [["1", "2"], []]),
    ],
)
def test_parquet_labels_of_every_type_become_strings(tmp_path, column, expected):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["a", None], "label": column}), path)
    assert read(path) == ([1, 2], ["a", None], expected)


def test_a_byte_order_mark_is_tolerated(tmp_path):
    mark = b"\xef\xbb\xbf"
    assert read(bytes_at(tmp_path, "a.csv", mark + b"text,label\na,x\n"))[1] == ["a"]
    path = bytes_at(tmp_path, "a.jsonl", mark + b'{"text": "a", "label": "x"}\n')
    assert read(path)[1] == ["a"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_missing_column_lists_those_there_are(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", ["a"], ["x"])
    with pytest.raises(
        MissingColumnError,
        match=r"No such column in .*a\.\w+\. Did you mean 'text'\? It has: text, label\. "
        r"Name one of them with --data.text_column. Received: 'texts'",
    ):
        read(tmp_path / f"a{suffix}", text_column="texts")
    with pytest.raises(MissingColumnError, match=r"with --data.label_column. Received: 'topic'"):
        read(tmp_path / f"a{suffix}", label_column="topic")


def test_a_column_that_is_there_twice_is_ambiguous(tmp_path):
    with pytest.raises(DataError, match=r"--data.text_column is ambiguous.*Received: 'text'"):
        read(bytes_at(tmp_path, "a.csv", b"text,text,label\na,b,x\n"))


def test_text_and_label_are_two_columns(tmp_path):
    with pytest.raises(DataError, match=r"must name different columns. Received: 'text' for both"):
        read(bytes_at(tmp_path, "a.csv", b"text,label\na,x\n"), label_column="text")


@pytest.mark.parametrize("content", [b"", b"text,label", b"text,label\n"])
def test_a_csv_file_without_rows(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.csv has no rows: expected a header"):
        read(bytes_at(tmp_path, "a.csv", content))


def test_a_jsonl_file_without_rows(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl has no rows: expected one JSON object"):
        read(bytes_at(tmp_path, "a.jsonl", b"\n"))


def test_bad_utf8_is_told_with_row_column_and_byte(tmp_path):
    lines = b"text,label\n" + b'"two\nlines",x\n\n' * 30_000 + b"caf\xe9 au lait,x\n"
    with pytest.raises(
        UnreadableFileError,
        match=r"a\.csv, row 30001, column 'text': not UTF-8, because of byte 0xe9 at position 3\. "
        r"Save the file as UTF-8\. Received: b'caf.xe9 au lait'",
    ):
        read(bytes_at(tmp_path, "a.csv", lines))
    with pytest.raises(UnreadableFileError, match=r"row 1, column 'label': not UTF-8.*0xff"):
        read(bytes_at(tmp_path, "a.csv", b"text,label\na,\xff\n"))
    with pytest.raises(UnreadableFileError, match=r"a\.csv, header: not UTF-8.*0xff at position 4"):
        read(bytes_at(tmp_path, "a.csv", b"text\xff,label\na,b\n"))
    with pytest.raises(UnreadableFileError, match=r"a\.jsonl, row 2: not UTF-8.*0xe9"):
        read(bytes_at(tmp_path, "a.jsonl", b'{"text":"a","label":"x"}\n{"text":"\xe9"}\n'))


def test_bad_utf8_in_parquet_is_told_with_its_row(tmp_path):
    texts = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
    pyarrow.parquet.write_table(
        pa.table({"text": texts, "label": ["x", "y"]}), tmp_path / "a.parquet"
    )
    with pytest.raises(UnreadableFileError, match=r"a\.parquet, row 2, column 'text': not UTF-8"):
        read(tmp_path / "a.parquet")


def test_a_malformed_csv_row_is_told_with_its_number(tmp_path):
    content = b'text,label\n"a\nb",x\n\nc,y\none,two,three\n'
    with pytest.raises(
        UnreadableFileError,
        match=r"a\.csv, row 3: expected 2 columns, as in the header, and found 3\..*"
        r"must be in double quotes. Received: 'one,two,three'",
    ):
        read(bytes_at(tmp_path, "a.csv", content))
    with pytest.raises(UnreadableFileError, match=r"a\.csv, row 1: expected 2 columns.*found 3\."):
        read(bytes_at(tmp_path, "a.csv", b"text,label\n\xff,two,three\n"))


def test_a_quote_that_is_never_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(delimited, "_LARGE_BLOCK_BYTES", 256)
    content = b'text,label\na,x\n"b,x\n' + b"c,x\n" * 200
    with pytest.raises(UnreadableFileError, match=r"a row is longer than .* never\s+closed"):
        read(bytes_at(tmp_path, "a.csv", content))


def test_malformed_json_is_told_with_its_row(tmp_path):
    good = b'{"text": "a", "label": "x"}\n'
    for bad, why in [
        (b'{"text": "a"', r"a\.jsonl, row 2: expected a JSON object on one line \("),
        (b"[1, 2]", r"a\.jsonl, row 2: expected a JSON object on one line. Received: b'\[1, 2\]'"),
        (b"[" * 100_000, r"a\.jsonl, row 2: expected a JSON object on one line \("),
        (b'{"text": "\\ud83d"}', r"row 2: half of a surrogate pair is no character.*ud83d"),
    ]:
        with pytest.raises(UnreadableFileError, match=why):
            read(bytes_at(tmp_path, "a.jsonl", good + bad + b"\n"))


def test_json_values_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"row 1: a text must be a string. Received: \['a'\]"):
        read(bytes_at(tmp_path, "a.jsonl", b'{"text": ["a"], "label": "x"}'))
    with pytest.raises(DataError, match=r"row 1: a label must be a string, .* Received: \{'a'"):
        read(bytes_at(tmp_path, "a.jsonl", b'{"text": "a", "label": {"a": 1}}'))


def test_a_truncated_parquet_file(tmp_path):
    write(tmp_path / "a.parquet", ["a"] * 100, ["x"] * 100)
    whole = (tmp_path / "a.parquet").read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        with pytest.raises(UnreadableFileError, match=r"a\.parquet is truncated, or no Parquet"):
            read(bytes_at(tmp_path, "a.parquet", whole[:size]))


def test_a_damaged_parquet_page(tmp_path):
    texts = [f"text {n}" for n in range(1000)]
    write(tmp_path / "a.parquet", texts, texts)
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    whole[4:200] = bytes(196)
    with pytest.raises(UnreadableFileError, match=r"a\.parquet is truncated, or no Parquet"):
        read(bytes_at(tmp_path, "a.parquet", bytes(whole)))


def test_a_truncated_gzip_file(tmp_path):
    packed = gzip.compress(b"text,label\n" + b"".join(b"%d,x\n" % n for n in range(9999)))
    with pytest.raises(UnreadableFileError, match=r"a\.csv\.gz cannot be read"):
        read(bytes_at(tmp_path, "a.csv.gz", packed[: len(packed) // 2]))
    lines = b"".join(b'{"text":"%d","label":1}\n' % n for n in range(9999))
    packed = gzip.compress(lines)
    with pytest.raises(UnreadableFileError, match=r"a\.jsonl\.gz (cannot be read|, row)"):
        read(bytes_at(tmp_path, "a.jsonl.gz", packed[: len(packed) // 2]))


def test_parquet_columns_of_other_types_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": [1], "label": ["x"]}), path)
    with pytest.raises(
        DataError, match=r"text column 'text' .* must hold strings. Received: int64"
    ):
        read(path)
    pyarrow.parquet.write_table(pa.table({"text": ["a"], "label": [{"a": 1}]}), path)
    with pytest.raises(DataError, match=r"label column 'label' .* Received: struct<a: int64>"):
        read(path)
